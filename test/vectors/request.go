package vectors

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// request does the steps that are plain HTTP.
func (s *story) request(ctx context.Context, st *step) error {
	method, path, _ := strings.Cut(st.HTTP, " ")
	body := []byte(nil)
	if st.API != "" {
		method, path, body = http.MethodPost, "/api/v1/"+st.API, []byte("{}")
	}
	var err error
	if st.Params != nil {
		body, err = s.filled(st.Params)
	} else if st.Text != nil {
		var raw string
		raw, err = s.filledText(st.Text)
		body = []byte(raw)
	}
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if st.API != "" {
		req.Header.Set("Content-Type", "application/json")
		if st.Key == nil {
			st.Key = &s.key
		}
	}
	if st.Key != nil && *st.Key != "" {
		req.Header.Set("Authorization", "Bearer "+*st.Key)
	}
	headers, err := s.filledStrings(st.Headers)
	if err != nil {
		return err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	res, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	return s.answer(st, res, answer)
}

func (s *story) answer(st *step, res *http.Response, body []byte) error {
	if res.StatusCode != cmp.Or(st.Status, http.StatusOK) {
		return fmt.Errorf("status is %d: %s", res.StatusCode, body)
	}
	if kind := res.Header.Get("Content-Type"); st.API != "" && res.StatusCode >= 400 && kind != "application/problem+json" {
		return fmt.Errorf("the content type of the error is %q, want application/problem+json", kind)
	}
	if st.ExpectHeaders != nil {
		want, err := parse(st.ExpectHeaders)
		if err != nil {
			return err
		}
		got := map[string]any{}
		for name := range res.Header {
			got[name] = res.Header.Get(name)
		}
		if why := s.memory.match("headers", want, got); why != "" {
			return errors.New(why)
		}
	}
	if st.Expect == nil {
		return nil
	}
	want, err := parse(st.Expect)
	if err != nil {
		return err
	}
	got, err := parse(body)
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w: %q", err, body)
	}
	if why := s.memory.match("body", want, got); why != "" {
		return fmt.Errorf("%s\nthe body is %s", why, body)
	}
	return nil
}
