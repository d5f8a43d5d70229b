package vectors

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestWhatIsSentIsFilledIn(t *testing.T) {
	m := memory{"connection:a": "Q1", "value:v": json.Number("7")}
	for _, tc := range []struct{ template, want string }{
		{`{"to":{"connection":"$connection:a"}}`, `{"to":{"connection":"Q1"}}`},
		{`{"$connection:a":["x $value:v y"]}`, `{"Q1":["x 7 y"]}`},
		{`"$connection:a $connection:b"`, `"Q1 $connection:b"`},
		{`{"$join":["a",{"$repeat":["xy",3]},"b"]}`, `"axyxyxyb"`},
		{`[1.50,null,true]`, `[1.50,null,true]`},
	} {
		got, err := m.fill(decode(t, tc.template))
		if err != nil {
			t.Fatal(err)
		}
		if b := text(got); b != tc.want {
			t.Errorf("%s becomes %s, want %s", tc.template, b, tc.want)
		}
	}
	if _, err := m.fill(decode(t, `{"$join":[{"$repeat":["x"]}]}`)); err == nil {
		t.Error("a $repeat without a number passed")
	}
}

func TestTokensAreSignedAsAsked(t *testing.T) {
	secret := strings.Repeat("s", 32)
	m := memory{}
	filled, err := m.fill(decode(t, `{"jwt":{"sub":"42","exp_in_s":60,"caps":{"a:b":["sub"]},"secret":"`+secret+`"}}`))
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(filled.(string), claims, func(*jwt.Token) (any, error) { return []byte(secret), nil }); err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != "42" || claims["secret"] != nil || claims["exp_in_s"] != nil {
		t.Errorf("claims = %v", claims)
	}
	if exp, err := claims.GetExpirationTime(); err != nil || time.Until(exp.Time).Round(5*time.Second) != time.Minute {
		t.Errorf("exp = %v, %v, want a minute from now", exp, err)
	}
	forged, err := m.fill(decode(t, `{"jwt":{"sub":"42","alg":"none"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if s := forged.(string); !strings.HasSuffix(s, ".") || strings.Count(s, ".") != 2 {
		t.Errorf("a token without a signature is %q", s)
	}
}
