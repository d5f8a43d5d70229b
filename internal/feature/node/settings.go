package node

import "context"

// The sources of settings.
const (
	SourceDefault     = "default"
	SourceFile        = "file"
	SourceEnvironment = "environment"
	SourceFlag        = "flag"
	SourceProgram     = "program" // the Go program that the server is part of
)

// Setting is one value in force.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value" jsonschema:"as YAML; a secret is ********"`
	Source string `json:"source" jsonschema:"default, file, environment, flag or program"`
	Place  string `json:"place,omitempty" jsonschema:"file:line, or the flag"`
	Env    string `json:"env,omitempty" jsonschema:"the environment variable that sets it"`
	Doc    string `json:"doc"`
}

// Settings is the result of settings.
type Settings struct {
	Settings []Setting `json:"settings"`
	File     string    `json:"file,omitempty" jsonschema:"the configuration file"`
}

func (f *Feature) settings(context.Context, None) (Settings, error) {
	list, file := f.cfg.Settings()
	if list == nil {
		list = []Setting{}
	}
	return Settings{list, file}, nil
}
