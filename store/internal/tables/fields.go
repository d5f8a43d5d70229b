package tables

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/store"
)

// maxFields is how many places of attributes may have an index.
const maxFields = 64

// fieldIndex is what the names of indexes of attributes begin with.
const fieldIndex = "person_field_"

const (
	sqlAddField  = `INSERT INTO person_field (field) VALUES (?) ON CONFLICT (field) DO NOTHING`
	sqlDropField = `DELETE FROM person_field WHERE field = ?`
)

// Indexing is how a database is told of its indexes.
type Indexing struct {
	// There gives the indexes that can be used, and those that cannot (any more).
	There func(ctx context.Context) (good, bad []string, err error)
	// Exec carries out a statement on its own.
	Exec func(ctx context.Context, statement string) error
	// Tx is for the list of the places that have an index.
	Tx Tx
}

// IsFieldIndex tells whether an index is one of attributes.
func IsFieldIndex(name string) bool {
	return strings.HasPrefix(name, fieldIndex) && name != "person_field_pkey"
}

// CheckFields tells what is wrong with a list for [UserIndexes].
func CheckFields(fields []string) error {
	if len(fields) > maxFields {
		return fmt.Errorf("fields: has %d; at most %d are possible", len(fields), maxFields)
	}
	for i, f := range fields {
		if f == "#tags" {
			continue
		}
		if err := store.CheckField(fmt.Sprintf("fields[%d]", i), f); err != nil {
			return err
		}
	}
	return nil
}

// UserIndexes makes the indexes of the places that are given, and drops all others.
// What is not listed is not looked up, so that nobody asks an index that is being
// made or dropped.
func UserIndexes(ctx context.Context, x Indexing, fields []string) error {
	wanted, statements := map[string]bool{}, map[string]string{}
	for _, f := range fields {
		if f == "#tags" {
			continue // they have a table
		}
		p := path(f)
		if wanted[p.String()] {
			continue
		}
		wanted[p.String()] = true
		sum := sha256.Sum256([]byte(p.String()))
		maps.Copy(statements, wordsOf(x.Tx.Dialect()).indexes(p, fieldIndex+hex.EncodeToString(sum[:8])))
	}
	var listed []string
	if err := x.Tx.Query(ctx, sqlFields, func(scan Scan) error {
		var field []byte
		err := scan(&field)
		listed = append(listed, string(field))
		return err
	}); err != nil {
		return err
	}
	good, bad, err := x.There(ctx)
	if err != nil {
		return err
	}
	complete := true
	for name := range statements {
		complete = complete && slices.Contains(good, name)
	}
	for _, f := range listed {
		if wanted[f] && complete {
			continue
		}
		if _, err := x.Tx.Exec(ctx, sqlDropField, []byte(f)); err != nil {
			return err
		}
	}
	drop := bad
	for _, name := range good {
		if statements[name] == "" {
			drop = append(drop, name)
		}
	}
	for _, name := range drop {
		if !IsFieldIndex(name) {
			return errors.New("an index of something else is not dropped: " + name)
		}
		statement := "DROP INDEX IF EXISTS " + name
		if x.Tx.Dialect() == PostgreSQL {
			statement = "DROP INDEX CONCURRENTLY IF EXISTS " + name
		}
		if err := x.Exec(ctx, statement); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(statements)) {
		if slices.Contains(good, name) {
			continue
		}
		if err := x.Exec(ctx, statements[name]); err != nil {
			return err
		}
	}
	for _, f := range slices.Sorted(maps.Keys(wanted)) {
		if _, err := x.Tx.Exec(ctx, sqlAddField, []byte(f)); err != nil {
			return err
		}
	}
	return nil
}
