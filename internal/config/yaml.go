package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxDepth bounds the nesting of a text. A configuration needs six levels,
	// and the parser takes time with the square of it.
	maxDepth = 32
	// maxIndent is the same bound for blocks, in columns.
	maxIndent = 256
	// maxTokens bounds a text, since the parser takes time with the square of the
	// keys of a map.
	maxTokens = 100_000
	// maxValues bounds what aliases and merges can blow a text up to.
	maxValues = 100_000
)

// yaml parses a text and hands its only document to use. What does not parse
// becomes a problem.
func (l *loader) yaml(src *source, text []byte, use func(*decoder)) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	src.lines = strings.Split(string(text), "\n")
	for i, line := range src.lines {
		if !utf8.ValidString(line) {
			l.wrong(place{src, i + 1, 1}, "", "the text is not UTF-8")
			return
		}
	}
	d := &decoder{loader: l, src: src, anchors: map[string]ast.Node{}, left: maxValues}
	tokens := lexer.Tokenize(string(text))
	if deep := tooDeep(tokens); deep != nil {
		l.wrong(d.at(deep), "", "nested more than %d levels deep", maxDepth)
		return
	}
	if len(tokens) > maxTokens {
		l.wrong(d.at(tokens[maxTokens]), "", "more than %d keys, values and signs", maxTokens)
		return
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(err)
		return
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case d.body == nil:
			d.body = doc.Body
		default:
			l.wrong(d.start(doc.Body), "", "a second document; everything belongs into one")
			return
		}
	}
	if d.body == nil {
		return
	}
	ast.Walk(d, d.body)
	use(d)
}

// tooDeep gives the token at which the nesting goes too far: open brackets,
// dashes and the like that follow each other, or indentation.
func tooDeep(tokens token.Tokens) *token.Token {
	brackets, run := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			run++
		default:
			run = 0
		}
		if brackets > maxDepth || run > maxDepth || t.Position.IndentNum > maxIndent {
			return t
		}
	}
	return nil
}

// syntax reports that the parser gave up. Its errors know the token.
func (d *decoder) syntax(err error) {
	at, message := place{src: d.src}, ""
	if e := yaml.Error(nil); !errors.As(err, &e) {
		message = err.Error()
	} else {
		message = e.GetMessage() // Error prints the text around it, which takes long
		if t := e.GetToken(); t != nil {
			at = d.at(t)
		}
	}
	if strings.ContainsRune(message, '\t') || strings.Contains(message, "tab character") {
		message = strings.ReplaceAll(message, "'\t'", "tab") + "; indent with spaces"
	}
	d.wrong(at, "", "not YAML: %s", message)
}

// at gives the place of a token.
func (d *decoder) at(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{src: d.src}
	}
	return place{d.src, t.Position.Line, t.Position.Column}
}

// start gives the place where a node begins. The token of a block map is its
// first colon, which is not where one would look for it.
func (d *decoder) start(n ast.Node) place {
	if m, ok := n.(ast.MapNode); ok {
		if it := m.MapRange(); it.Next() && n.GetToken().Type == token.MappingValueType {
			return d.at(it.Key().GetToken())
		}
	}
	return d.at(n.GetToken())
}

// Visit implements ast.Visitor: it notes the anchors.
func (d *decoder) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok {
		name := a.Name.GetToken().Value
		if d.anchors[name] != nil {
			d.wrong(d.at(a.GetToken()), "", "the anchor &%s is there twice", name)
		}
		d.anchors[name] = a.Value
	}
	return d
}

// follow unwraps anchors and aliases. nil: an alias leads nowhere, which has
// been reported.
func (d *decoder) follow(n ast.Node) ast.Node {
	for range maxDepth {
		switch a := n.(type) {
		case *ast.AnchorNode:
			n = a.Value
		case *ast.AliasNode:
			name := a.Value.GetToken().Value
			if n = d.anchors[name]; n == nil {
				d.wrong(d.at(a.GetToken()), "", "there is no anchor &%s", name)
				return nil
			}
		default:
			return n
		}
	}
	d.wrong(d.start(n), "", "the alias leads back to itself")
	return nil
}

// spend counts one value against maxValues, and reports once when they are used up.
func (d *decoder) spend(n ast.Node) bool {
	d.left--
	if d.left == 0 {
		d.exhausted = true
		d.wrong(d.start(n), "", "more than %d values, aliases counted", maxValues)
	}
	return d.left > 0
}

// pair is a key and its value in a mapping.
type pair struct {
	key   string
	at    place
	value ast.Node
}

// pairs lists a mapping. Merged keys ("<<") come last and only when they are
// not there already. ok is false when n is no mapping.
func (d *decoder) pairs(n ast.Node, path string, depth int) (all []pair, ok bool) {
	m, ok := n.(ast.MapNode)
	if !ok || depth > maxDepth {
		return nil, false
	}
	seen := map[string]place{}
	var merges []ast.Node
	for it := m.MapRange(); it.Next(); {
		key, value := it.Key(), it.Value()
		if !d.spend(key) {
			return all, true
		}
		if key.IsMergeKey() {
			merges = append(merges, value)
			continue
		}
		p := pair{key: keyText(key), at: d.at(key.GetToken()), value: value}
		if first, twice := seen[p.key]; twice {
			d.wrong(p.at, join(path, p.key), "is there twice; the first is on line %d", first.line)
			continue
		}
		seen[p.key] = p.at
		all = append(all, p)
	}
	for _, merge := range merges {
		for _, p := range d.merged(merge, path, depth) {
			if _, known := seen[p.key]; !known {
				seen[p.key] = p.at
				all = append(all, p)
			}
		}
	}
	return all, true
}

// merged gives the pairs that a merge key brings: those of one mapping, or of a
// list of them.
func (d *decoder) merged(n ast.Node, path string, depth int) (all []pair) {
	followed := d.follow(n)
	if followed == nil {
		return nil
	}
	if s, ok := followed.(*ast.SequenceNode); ok && depth <= maxDepth {
		for _, v := range s.Values {
			if !d.spend(v) {
				return all
			}
			all = append(all, d.merged(v, path, depth+1)...)
		}
		return all
	}
	all, ok := d.pairs(followed, path, depth+1)
	if !ok {
		d.wrong(d.start(n), path, "<< takes a map, not %s", looks(followed))
	}
	return all
}

func keyText(key ast.MapKeyNode) string {
	if k, ok := key.(*ast.MappingKeyNode); ok && k.Value != nil {
		return k.Value.GetToken().Value
	}
	return key.GetToken().Value
}

// looks says what a node is, for messages.
func looks(n ast.Node) string {
	switch n := n.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.StringNode:
		return fmt.Sprintf("the text %q", shorten(n.Value))
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "a map"
	case *ast.TagNode:
		return "the tag " + n.GetToken().Value
	}
	return "something else"
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
