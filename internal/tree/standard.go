package tree

import "github.com/skein-realtime/skein/internal/fault"

// standard carries out an operation of RFC 6902, section 4, with the conditions
// that it has there, as operations of the protocol.
func (c *change) standard(op *Op) error {
	switch op.Kind {
	case Add:
		return c.addValue(op.Path, op.Value)
	case Replace:
		if err := c.mayWrite(op.Path); err != nil { // before anything is told of what is there
			return err
		}
		n, err := c.find(op.Path)
		if err != nil {
			return err
		}
		if n == nil {
			return nothing("path", op.Path)
		}
		return c.set(op.Path, op.Value)
	case Move:
		if op.From.Covers(op.Path) && len(op.Path) > len(op.From) {
			return fault.Field("path", "leads into what is to be moved")
		}
		raw, err := c.source(op)
		if err != nil {
			return err
		}
		if err := c.remove(op.From); err != nil {
			return as("from", "path", err)
		}
		return as("path", "value", c.addValue(op.Path, raw))
	case Copy:
		raw, err := c.source(op)
		if err != nil {
			return err
		}
		return as("path", "value", c.addValue(op.Path, raw))
	}
	return fault.Field("op", "%q is not known", op.Kind)
}

// as makes an error name the field that the place or value came from.
func as(field, instead string, err error) error {
	if err == nil {
		return nil
	}
	e := *fault.Of(err)
	if e.Field != "" && e.Field == instead {
		e.Field, e.Message = field, field+e.Message[len(instead):]
	}
	return &e
}

// maxCopied bounds what move and copy may make where the document is not bounded.
const maxCopied = 16 << 20

// source gives what is to be moved or copied.
func (c *change) source(op *Op) ([]byte, error) {
	if err := c.mayRead("from", op.From); err != nil {
		return nil, err
	}
	n, err := c.find(op.From)
	if err != nil {
		return nil, as("from", "path", err)
	}
	if n == nil {
		return nil, nothing("from", op.From)
	}
	// A short patch could make copies of copies, and as many texts as it has operations.
	bound := maxCopied
	if c.limits.Bytes > 0 {
		bound = c.limits.Bytes
	}
	if c.copied += n.size(); c.copied > bound {
		return nil, wrong(fault.TooLarge, "from", "the patch moves and copies more than %d bytes (limits.document)", bound)
	}
	return n.copy(), nil
}

// addValue is `add`: the parent must be there, and of arrays the end alone can
// be named.
func (c *change) addValue(path Path, raw []byte) error {
	if len(path) == 0 {
		return c.set(path, raw)
	}
	parent := path[:len(path)-1]
	if err := c.mayWrite(path); err != nil { // before anything is told of what is there
		return err
	}
	n, err := c.find(parent)
	switch {
	case err != nil:
		return err
	case n == nil:
		return nothing("path", parent)
	case n.kind == kindArray && path[len(path)-1] == "-":
		return c.append(parent, raw)
	}
	return c.set(path, raw)
}
