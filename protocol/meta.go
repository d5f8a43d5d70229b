package protocol

import (
	"strconv"

	"github.com/skein-realtime/skein/internal/fault"
)

// ReadMeta reads what a message of a conversation says beside its data: the members
// `reply`, the seq of the message that it answers, zero when it is absent, and `mentions`,
// at most [MaxMentions] ids of users, each once, or [Everybody] alone; nil when there are
// none. Its error is a bad_request that names the field, as in mentions[3].
func ReadMeta(o *Object) (reply uint64, mentions []string, err error) {
	n, err := o.Int("reply", 0, 1, MaxInt)
	if err != nil {
		return 0, nil, err
	}
	raw := o.Raw("mentions")
	if raw == nil {
		return uint64(n), nil, nil
	}
	if raw[0] != '[' {
		return 0, nil, fault.Field("mentions", "must be an array, not %s", kindOf(raw))
	}
	if err := EachElement(raw, func(element []byte) error {
		at := "mentions[" + strconv.Itoa(len(mentions)) + "]"
		if len(mentions) == MaxMentions {
			return fault.Field("mentions", "names more than %d users", MaxMentions)
		}
		user, ok := Unquote(element)
		if !ok {
			return fault.Field(at, "must be a string, not %s", kindOf(element))
		}
		if err := UserID(at, user); err != nil {
			return err
		}
		mentions = append(mentions, user)
		return nil
	}); err != nil {
		return 0, nil, err
	}
	return uint64(n), mentions, eachOnce(mentions)
}

// eachOnce refuses mentions of which one stands twice, and everybody beside somebody.
func eachOnce(mentions []string) error {
	seen := make(map[string]struct{}, len(mentions))
	for i, user := range mentions {
		at := "mentions[" + strconv.Itoa(i) + "]"
		if user == Everybody && len(mentions) > 1 {
			return fault.Field(at, "%q is everybody; it stands alone", Everybody)
		}
		if _, twice := seen[user]; twice {
			return fault.Field(at, "stands twice")
		}
		seen[user] = struct{}{}
	}
	return nil
}

// appendMeta appends the members that [ReadMeta] reads, those that are there.
func appendMeta(dst []byte, m *Msg) []byte {
	if m.Reply != 0 {
		dst = strconv.AppendUint(append(dst, `,"reply":`...), m.Reply, 10)
	}
	for i, user := range m.Mentions {
		if i == 0 {
			dst = append(dst, `,"mentions":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, user)
	}
	if len(m.Mentions) > 0 {
		dst = append(dst, ']')
	}
	return dst
}
