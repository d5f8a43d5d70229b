package ws

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const kosme = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"

// utf8Sequences are those of Autobahn 6.5 to 6.23, which come from Markus Kuhn's
// UTF-8 decoder stress test.
func utf8Sequences() (valid, invalid []string) {
	valid = []string{
		"hello\x24world", "hello\xc2\xa2world", "hello\xe2\x82\xacworld", "hello\xf0\xa4\xad\xa2world", kosme, // 6.5
		"\x00", "\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80", // 6.7
		"\x7f", "\xdf\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf", // 6.9
		"\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", // 6.11
		"\xef\xbf\xb9", "\xef\xbf\xba", "\xef\xbf\xbb", "\xef\xbf\xbc", "\xef\xbf\xbe", // 6.23
	}
	for plane := rune(0); plane <= 0x10; plane++ { // 6.22: non-characters are valid
		valid = append(valid, string(plane<<16|0xFFFE), string(plane<<16|0xFFFF))
	}
	incomplete := []string{
		"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf",
	}
	invalid = slices.Concat(incomplete, // 6.14
		[]string{strings.Join(incomplete, "")}, // 6.15
		[]string{
			"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", // 6.8
			"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf", // 6.10
			"\xf4\x90\x80\x80",                                                                                                 // 6.11
			"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf", // 6.12
			span(0x80, 0xbf, ""),
			span(0xc0, 0xdf, " "), span(0xe0, 0xef, " "), span(0xf0, 0xf7, " "), span(0xf8, 0xfb, " "), span(0xfc, 0xfd, " "), // 6.13
			"\xfe", "\xff", "\xfe\xfe\xff\xff", // 6.16
			"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf", // 6.17
			"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf", // 6.18
			"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80", // 6.19
			"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf", // 6.20
			"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf", // 6.21
			"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf",
		})
	for i := 1; i <= len(kosme); i++ { // 6.6: all prefixes
		if utf8.ValidString(kosme[:i]) {
			valid = append(valid, kosme[:i])
		} else {
			invalid = append(invalid, kosme[:i])
		}
	}
	return valid, invalid
}

func span(from, to byte, after string) string {
	var b strings.Builder
	for c := from; c < to; c++ {
		b.WriteByte(c)
		b.WriteString(after)
	}
	return b.String()
}

func TestTextMustBeUTF8(t *testing.T) { // 6.5 to 6.23
	valid, invalid := utf8Sequences()
	for _, s := range valid {
		check(t, wide, frame(Text, s), event(Text, []byte(s)))
		check(t, wide, inFragments(Text, s, 1), event(Text, []byte(s)))
	}
	for _, s := range invalid {
		check(t, wide, frame(Text, s), "fail 1007")
		check(t, wide, frame(Text, "valid before "+s+" and after"), "fail 1007")
		check(t, wide, inFragments(Text, s, 1), "fail 1007")
		check(t, wide, frame(Binary, s), event(Binary, []byte(s)))
	}
}

func TestUTF8AcrossFragments(t *testing.T) { // 6.1, 6.2, 6.3
	text := "Hello-µ@ßöäüàá-UTF-8!!"
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"empty message", frame(Text, ""), `text ""`},
		{"three empty fragments", stream(fragment(Text, false, ""), fragment(Continuation, false, ""), fragment(Continuation, true, "")), `text ""`},
		{"cut between runes", stream(fragment(Text, false, text[:12]), fragment(Continuation, true, text[12:])), event(Text, []byte(text))},
		{"cut inside runes", inFragments(Text, text, 1), event(Text, []byte(text))},
		{"an empty fragment inside a rune", stream(fragment(Text, false, "\xe2\x82"), fragment(Continuation, false, ""), fragment(Continuation, true, "\xac")), `text "€"`},
		{"a ping inside a rune", stream(fragment(Text, false, "\xf0\x9f"), frame(Ping, "\xff"), fragment(Continuation, true, "\x98\x80")), `text "😀"`},
		{"a surrogate after valid text", frame(Text, kosme+"\xed\xa0\x80edited"), "fail 1007"},
		{"the same, a byte a fragment", inFragments(Text, kosme+"\xed\xa0\x80edited", 1), "fail 1007"},
		{"ends inside a rune", stream(fragment(Text, false, "a"), fragment(Continuation, true, "\xe2\x82")), "fail 1007"},
		{"ends inside a rune, empty last fragment", stream(fragment(Text, false, "\xe2\x82"), fragment(Continuation, true, "")), "fail 1007"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := []string{c.want}
			if strings.HasPrefix(c.name, "a ping") {
				want = []string{`ping "\xff"`, c.want}
			}
			check(t, wide, c.in, want...)
		})
	}
}

func TestInvalidUTF8FailsAtTheFirstWrongByte(t *testing.T) { // 6.4
	bad := kosme + "\xf4\x90\x80\x80edited" // wrong at the second byte of the last rune
	head := len(frame(Text, ""))
	failsAfter(t, wide, frame(Text, bad), head+13, 1007)
	failsAfter(t, wide, stream(fragment(Text, false, kosme), fragment(Continuation, false, bad[11:15]), fragment(Continuation, true, "edited")), head+11+head+2, 1007)
	failsAfter(t, wide, stream(fragment(Text, false, bad[:12]), fragment(Continuation, false, bad[12:13]), fragment(Continuation, true, bad[13:])), head+12+head+1, 1007)
	_, invalid := utf8Sequences()
	for _, s := range invalid {
		n, certain := firstWrong(s)
		if !certain {
			continue
		}
		failsAfter(t, wide, frame(Text, s+"abc"), head+n, 1007)
		failsAfter(t, wide, frame(Text, strings.Repeat("x", 200)+s), head+2+200+n, 1007)
	}
}

// firstWrong is how many bytes of s it takes to be sure that it is not UTF-8, by
// trying every way to go on.
func firstWrong(s string) (n int, certain bool) {
	endings := []string{"", "\x80", "\x80\x80", "\x80\x80\x80", "\xa0", "\xa0\x80", "\x90\x80\x80", "\xbf", "\x90\x80", "\x80\x90"}
	for n = 1; n <= len(s); n++ {
		if !slices.ContainsFunc(endings, func(e string) bool { return utf8.ValidString(s[:n] + e) }) {
			return n, true
		}
	}
	return 0, false
}
