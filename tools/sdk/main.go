// Command sdk bundles an entry of the JavaScript client into one small file for browsers,
// which the server gives out under /sdk/. It needs no Node.
//
//	sdk ENTRY OUT
package main

import (
	"fmt"
	"os"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sdk ENTRY OUT")
		os.Exit(2)
	}
	result := api.Build(api.BuildOptions{
		EntryPoints:       []string{os.Args[1]},
		Outfile:           os.Args[2],
		Bundle:            true,
		Write:             true,
		Format:            api.FormatESModule,
		Platform:          api.PlatformNeutral,
		Target:            api.ES2022,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		MangleProps:       "^_[a-z]", // what begins with an underscore is between the classes
		Charset:           api.CharsetUTF8,
		LegalComments:     api.LegalCommentsNone,
		LogLevel:          api.LogLevelWarning,
	})
	if len(result.Errors) > 0 {
		os.Exit(1)
	}
}
