package tables

import (
	"context"

	"github.com/skein-realtime/skein/store"
)

const (
	sqlNewCategory = `INSERT INTO category (name, body, changed) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING`

	sqlChangeCategory = `UPDATE category SET body = ?, changed = ? WHERE name = ?`

	sqlDeleteCategory = `DELETE FROM category WHERE name = ?`

	sqlCategories = `SELECT name, body, changed FROM category WHERE name > ? ORDER BY name`
)

func putCategory(ctx context.Context, tx Tx, c store.PutCategory) (store.Result, error) {
	name := []byte(c.Name)
	// Somebody else may delete it between the two statements.
	for {
		if n, err := tx.Exec(ctx, sqlNewCategory, name, filled(c.Body), c.Time); err != nil || n > 0 {
			return store.CategoryPut{Created: true}, err
		}
		if n, err := tx.Exec(ctx, sqlChangeCategory, filled(c.Body), c.Time, name); err != nil || n > 0 {
			return store.CategoryPut{}, err
		}
	}
}

func deleteCategory(ctx context.Context, tx Tx, c store.DeleteCategory) (store.Result, error) {
	n, err := tx.Exec(ctx, sqlDeleteCategory, []byte(c.Name))
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return store.CategoryDeleted{}, nil
}

// categories is that of [store.UserReader].
func categories(ctx context.Context, tx Tx) (list []store.Category, err error) {
	err = tx.Query(ctx, sqlCategories, func(scan Scan) error {
		var c store.Category
		var name []byte
		if err := scan(&name, &c.Body, &c.Changed); err != nil {
			return err
		}
		c.Name, c.Body = string(name), emptyIsNil(c.Body)
		list = append(list, c)
		return nil
	}, []byte{})
	return list, err
}
