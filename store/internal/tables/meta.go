package tables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/skein-realtime/skein/store"
)

// maxMentions is how many users a message may mention.
const maxMentions = 100

// HasMeta tells whether a message says anything beside its data.
func HasMeta(m *store.Meta) bool { return m.Reply != 0 || len(m.Mentions) > 0 }

// AppendMeta writes what a message says beside its data: the reply, the number of
// mentions, and each of them behind its length.
func AppendMeta(b []byte, m *store.Meta) []byte {
	b = binary.AppendUvarint(b, m.Reply)
	b = binary.AppendUvarint(b, uint64(len(m.Mentions)))
	for _, user := range m.Mentions {
		b = append(binary.AppendUvarint(b, uint64(len(user))), user...)
	}
	return b
}

// ParseMeta reads all of b as what [AppendMeta] wrote, and tells whether it is that.
func ParseMeta(b []byte) (m store.Meta, ok bool) {
	reply, size := binary.Uvarint(b)
	if size <= 0 {
		return m, false
	}
	b = b[size:]
	count, size := binary.Uvarint(b)
	if size <= 0 || count > uint64(len(b)-size) {
		return m, false
	}
	b = b[size:]
	var mentions []string
	for range count {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return m, false
		}
		mentions = append(mentions, string(b[size:size+int(n)]))
		b = b[size+int(n):]
	}
	if len(b) > 0 {
		return m, false
	}
	return store.Meta{Reply: reply, Mentions: mentions}, true
}

// CheckSpeech tells what is wrong with the author and the meta of an append, and about
// how many bytes they have.
func CheckSpeech(a *store.Append) (size int, err error) {
	if HasMeta(&a.Meta) {
		if size, err = checkMeta(&a.Meta); err != nil {
			return 0, err
		}
	}
	by := a.Author
	if by == nil {
		return size, nil
	}
	if a.Version != 0 {
		err = fmt.Errorf("%s: a document has none", "Author")
	}
	switch len(by.Direct) {
	case 0:
	case 2:
		err = errors.Join(err, name("Author.Direct[0]", by.Direct[0], 1, maxUser), name("Author.Direct[1]", by.Direct[1], 1, maxUser))
		if by.Direct[0] >= by.Direct[1] {
			err = errors.Join(err, fmt.Errorf("%s: %q does not come before %q", "Author.Direct", by.Direct[0], by.Direct[1]))
		}
	default:
		err = errors.Join(err, fmt.Errorf("%s: has %d users; 2 are possible, or none", "Author.Direct", len(by.Direct)))
	}
	return size + 256, errors.Join(name("Author.User", by.User, 0, maxUser), err)
}

func checkMeta(m *store.Meta) (size int, err error) {
	if m.Reply > math.MaxInt64 {
		return 0, fmt.Errorf("%s: %d is more than %d", "Meta.Reply", m.Reply, int64(math.MaxInt64))
	}
	if len(m.Mentions) > maxMentions {
		return 0, fmt.Errorf("%s: has %d; at most %d are possible", "Meta.Mentions", len(m.Mentions), maxMentions)
	}
	seen := make(map[string]struct{}, len(m.Mentions))
	for i, user := range m.Mentions {
		if user == "" || len(user) > maxUser {
			return 0, fmt.Errorf("%s[%d]: has %d bytes; 1 to %d are possible", "Meta.Mentions", i, len(user), maxUser)
		}
		if _, double := seen[user]; double {
			return 0, fmt.Errorf("%s[%d]: %q was there before", "Meta.Mentions", i, user)
		}
		seen[user] = struct{}{}
		size += len(user) + 8
	}
	return size, nil
}

// CheckEdit tells what is wrong with an edit.
func CheckEdit(c *store.EditMessage) error {
	err := errors.Join(name("Channel", c.Channel, 1, maxChannel), moment("Time", c.Time, 0))
	if c.Seq == 0 || c.Seq > math.MaxInt64 {
		err = errors.Join(err, fmt.Errorf("%s: %d is not from 1 to %d", "Seq", c.Seq, int64(math.MaxInt64)))
	}
	return err
}
