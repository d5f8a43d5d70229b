package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// text gives a timeline as text.
func (t *timeline) text() (out []string) {
	for _, m := range t.list() {
		word := fmt.Sprintf("%d %s %s", m.Seq, m.Data, m.State)
		if m.Key != "" {
			word += " " + m.Key
		}
		if m.Edited {
			word += " edited"
		}
		if m.Recalled {
			word += " recalled"
		}
		out = append(out, word)
	}
	return out
}

func wantText(t *testing.T, tl *timeline, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, tl.text()); diff != "" {
		t.Errorf("the messages (-want +got):\n%s", diff)
	}
}

func said(seq uint64, data string) Message {
	return Message{Channel: "dm:ann:bob", ID: fmt.Sprint(seq), Seq: seq, Event: "message", Data: json.RawMessage(data)}
}

func TestAMessageOfOnesOwnIsShownOnceInWhateverOrderItIsConfirmed(t *testing.T) {
	steps := map[string]func(*timeline, *ownMessage){
		"answer": func(tl *timeline, own *ownMessage) { tl.sent(own, "1", 1) },
		"frame":  func(tl *timeline, _ *ownMessage) { tl.add(said(1, `"hi"`), true) },
		"page":   func(tl *timeline, _ *ownMessage) { tl.ask(); tl.page([]Message{said(1, `"hi"`)}) },
	}
	for _, order := range [][]string{{"answer", "frame", "page"}, {"frame", "answer", "page"}, {"answer", "page", "frame"}, {"page", "answer", "frame"}} {
		tl := newTimeline()
		own := tl.send("dm:ann:bob", Sender{User: "ann"}, "message", json.RawMessage(`"hi"`), PublishOptions{Key: "k"})
		wantText(t, tl, `0 "hi" pending k`)
		for i, step := range order {
			steps[step](tl, own)
			if step == "page" && i == 0 {
				wantText(t, tl, `1 "hi" sent`, `0 "hi" pending k`) // nobody can know that it is the same
				continue
			}
			wantText(t, tl, `1 "hi" sent k`)
		}
	}
}

func TestWhatWasRefusedIsNotTakenForAMessageThatComes(t *testing.T) {
	tl := newTimeline()
	own := tl.send("dm:ann:bob", Sender{}, "message", json.RawMessage(`1`), PublishOptions{Key: "k"})
	own.err = &Error{Code: Denied}
	tl.add(said(1, `1`), true)
	wantText(t, tl, `1 1 sent`, `0 1 failed k`)
	own.err = errors.New("it was given up") // it may have been stored
	tl.add(said(2, `1`), true)
	wantText(t, tl, `1 1 sent`, `2 1 sent k`)
	tl.clear()
	wantText(t, tl, `0 1 failed k`)
}

func TestEditsAndRecallsThatComeWhileAPageIsOnItsWayCountMore(t *testing.T) {
	tl := newTimeline()
	tl.add(said(3, `3`), false)
	tl.ask()
	edit := Edit{Message: said(1, `"new"`)}
	if tl.change(edit) || tl.change(Recall{Seq: 2}) {
		t.Error("what is not there has changed")
	}
	if !tl.change(Edit{Message: said(3, `"drei"`)}) || tl.change(Recall{Seq: 9}) {
		t.Error("what is there has not changed")
	}
	tl.page([]Message{said(1, `1`), said(2, `2`), said(3, `3`)})
	wantText(t, tl, `1 "new" sent edited`, `2  sent recalled`, `3 "drei" sent edited`)
	if tl.add(said(3, `3`), false) || tl.change(Edit{Message: said(2, `"again"`)}) {
		t.Error("an older message, or a stub, has changed")
	}
	if !tl.trim(2) || tl.trim(2) || tl.oldest() != 2 || tl.newest() != 3 {
		t.Errorf("after trimming there are %v", tl.text())
	}
	if !slices.Equal(tl.seqs(), []uint64{2, 3}) {
		t.Errorf("the seqs are %v", tl.seqs())
	}
}
