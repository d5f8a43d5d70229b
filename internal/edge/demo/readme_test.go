package demo

import (
	"os"
	"strings"
	"testing"
)

// The READMEs show the script of ten.html; it must be the one that is tested.
func TestTheReadmesShowTheTenLines(t *testing.T) {
	page, err := os.ReadFile("pages/ten.html")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "<script>\n")
	script, _, found := strings.Cut(rest, "</script>")
	if !found {
		t.Fatal("ten.html has no script")
	}
	for _, file := range []string{"../../../README.md", "../../../README.zh-CN.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), script) {
			t.Errorf("%s does not hold the script of ten.html", file)
		}
	}
}
