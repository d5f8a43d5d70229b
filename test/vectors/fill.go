package vectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// parse reads one JSON value and keeps numbers as they are written.
func parse(src []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON value")
	}
	return v, nil
}

// fill makes a value ready to be sent (spec/vectors/README.md, "What is filled in").
func (m memory) fill(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return m.fillString(v), nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = m.fill(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		if claims, ok := v["jwt"].(map[string]any); ok && len(v) == 1 {
			return m.token(claims)
		}
		if bearer, ok := v["bearer"]; ok && len(v) == 1 {
			token, err := m.fill(bearer)
			return fmt.Sprintf("Bearer %v", token), err
		}
		if parts, ok := v["$join"].([]any); ok {
			return join(parts)
		}
		out := make(map[string]any, len(v))
		for name, value := range v {
			filled, err := m.fill(value)
			if err != nil {
				return nil, err
			}
			out[m.fillString(name)] = filled
		}
		return out, nil
	}
	return v, nil
}

// fillString replaces $connection:a and $value:name, which reach to the next
// space or the end. What is not known stays, so that it is seen.
func (m memory) fillString(s string) string {
	for _, prefix := range []string{"$connection:", "$value:"} {
		for from := 0; ; {
			i := strings.Index(s[from:], prefix)
			if i < 0 {
				break
			}
			i += from
			end := len(s)
			if n := strings.IndexByte(s[i:], ' '); n >= 0 {
				end = i + n
			}
			known, ok := m[s[i+1:end]]
			if !ok {
				from = end
				continue
			}
			value := fmt.Sprint(known)
			s = s[:i] + value + s[end:]
			from = i + len(value)
		}
	}
	return s
}

func join(parts []any) (string, error) {
	var b strings.Builder
	for _, part := range parts {
		switch p := part.(type) {
		case string:
			b.WriteString(p)
		case map[string]any:
			repeat, _ := p["$repeat"].([]any)
			if len(repeat) != 2 {
				return "", fmt.Errorf("%s: $repeat wants a string and a number", text(part))
			}
			unit, isString := repeat[0].(string)
			n, isInt := integer(repeat[1])
			if !isString || !isInt {
				return "", fmt.Errorf("%s: $repeat wants a string and a number", text(part))
			}
			b.WriteString(strings.Repeat(unit, int(n)))
		default:
			return "", fmt.Errorf("%s is not a part of a text", text(part))
		}
	}
	return b.String(), nil
}

// token signs what a {"jwt": …} asks for.
func (m memory) token(spec map[string]any) (string, error) {
	claims := jwt.MapClaims(maps.Clone(spec))
	secret, _ := spec["secret"].(string)
	delete(claims, "secret")
	delete(claims, "alg")
	if s, ok := integer(spec["exp_in_s"]); ok {
		claims["exp"] = time.Now().Unix() + s
		delete(claims, "exp_in_s")
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	alg, forged := spec["alg"].(string)
	if !forged {
		return token.SignedString([]byte(secret))
	}
	token.Header["alg"] = alg
	unsigned, err := token.SigningString()
	return unsigned + ".", err
}
