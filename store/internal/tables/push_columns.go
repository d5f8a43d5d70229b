package tables

import (
	"context"
	"fmt"
)

// A column is one argument for each of several rows, []int64 or [][]byte.
type column = any

// argument is what a column has for a row. No bytes are a null.
func argument(c column, row int) any {
	switch c := c.(type) {
	case []int64:
		return c[row]
	case [][]byte:
		if c[row] == nil {
			return nil
		}
		return c[row]
	}
	return fmt.Errorf("a column of %T", c)
}

func length(c column) int {
	switch c := c.(type) {
	case []int64:
		return len(c)
	case [][]byte:
		return len(c)
	}
	return 0
}

// execRows carries out a statement for each row of columns: one, with an argument
// of each column, again and again, or all of them with the columns as arguments.
func execRows(ctx context.Context, tx Tx, one, all string, columns ...column) error {
	n := length(columns[0])
	if n == 0 {
		return nil
	}
	if tx.Dialect() == PostgreSQL {
		_, err := tx.Exec(ctx, all, columns...)
		return err
	}
	args := make([]any, len(columns))
	for row := range n {
		for i, c := range columns {
			args[i] = argument(c, row)
		}
		if _, err := tx.Exec(ctx, one, args...); err != nil {
			return err
		}
	}
	return nil
}

// queryRows is execRows for a query. What it gives is in the order of the columns, as
// long as one gives no more than one row.
func queryRows(ctx context.Context, tx Tx, one, all string, take func(Scan) error, columns ...column) error {
	n := length(columns[0])
	if n == 0 {
		return nil
	}
	if tx.Dialect() == PostgreSQL {
		return tx.Query(ctx, all, take, columns...)
	}
	args := make([]any, len(columns))
	for row := range n {
		for i, c := range columns {
			args[i] = argument(c, row)
		}
		if err := tx.Query(ctx, one, take, args...); err != nil {
			return err
		}
	}
	return nil
}

// chunk is how many numbers SQLite is asked for at once. A query costs as much as
// some ten rows that it gives.
const chunk = 32

// queryNumbers asks for the rows of numbers. query ends where the numbers begin:
// "… WHERE n "; it gives what it has in any order.
func queryNumbers(ctx context.Context, tx Tx, query, tail string, numbers []int64, take func(Scan) error) error {
	if len(numbers) == 0 {
		return nil
	}
	if tx.Dialect() == PostgreSQL {
		return tx.Query(ctx, query+"= ANY (CAST(? AS bigint[])) "+tail, take, numbers)
	}
	var args [chunk]any
	for len(numbers) > 0 {
		n := 1
		if len(numbers) > 1 {
			n = chunk
		}
		// The last number stands for those that are missing.
		for i := range n {
			args[i] = numbers[min(i, len(numbers)-1)]
		}
		text := query + "= ?"
		if n > 1 {
			text = query + manyMarks
		}
		if err := tx.Query(ctx, text, take, args[:n]...); err != nil {
			return err
		}
		numbers = numbers[min(n, len(numbers)):]
	}
	return nil
}

// manyMarks is IN with a mark for each number of a chunk.
const manyMarks = "IN (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

// null is what stands for no text in a column.
func null(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}
