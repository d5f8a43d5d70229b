package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// signature is the value of Skein-Signature: "v1=" and the hex HMAC-SHA256 of
// label, a dot and the body, one for each secret, joined by commas. The label of
// a request is its timestamp, that of an answer the delivery: neither can be
// taken for the other.
func signature(secrets []string, label string, body []byte) string {
	const one = len("v1=") + 2*sha256.Size
	out := make([]byte, 0, len(secrets)*(one+1))
	for i, secret := range secrets {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, "v1="...)
		mac := sum(secret, label, body)
		out = hex.AppendEncode(out, mac[:])
	}
	return string(out)
}

func sum(secret, label string, body []byte) (mac [sha256.Size]byte) {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(label))
	h.Write([]byte{'.'})
	h.Write(body)
	h.Sum(mac[:0])
	return mac
}

// maxSignatures bounds how many signatures of an answer are looked at.
const maxSignatures = 8

// signed tells whether one of the signatures in header values was made with one
// of the secrets. What is not a v1 signature is passed over, so that a later
// version can be sent next to it.
func signed(values, secrets []string, label string, body []byte) bool {
	looked := 0
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			text, ok := strings.CutPrefix(strings.TrimSpace(part), "v1=")
			if !ok {
				continue
			}
			if looked++; looked > maxSignatures {
				return false
			}
			got, err := hex.DecodeString(text)
			if err != nil {
				continue
			}
			for _, secret := range secrets {
				if mac := sum(secret, label, body); hmac.Equal(got, mac[:]) {
					return true
				}
			}
		}
	}
	return false
}
