package push

import (
	"context"
	"maps"
	"slices"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// PutCategoryParams are the params of categories.put.
type PutCategoryParams struct {
	Name string `json:"name" jsonschema:"as that of a namespace: lower-case letters, digits and _ . -, at most 64"`
	Category
}

// ReadParams implements verb.Reader: what is wrong is named with its path.
func (p *PutCategoryParams) ReadParams(o *protocol.Object) (err error) {
	if p.Name, err = o.String("name", maxText); err == nil {
		err = checkName("name", p.Name)
	}
	if err == nil {
		p.Category, err = readCategory(o, "name")
	}
	return err
}

// CategoryItem is one category, with what was left out filled in.
type CategoryItem struct {
	Name string `json:"name"`
	Category
	Source  string `json:"source" jsonschema:"config: it is in the configuration; api: categories.put has put it"`
	Changed int64  `json:"changed,omitempty" jsonschema:"of one of the API: milliseconds since 1970 UTC"`
	Error   string `json:"error,omitempty" jsonschema:"why nothing can be pushed under it"`
}

func (n *named) item() CategoryItem {
	i := CategoryItem{Name: n.name, Category: n.Category, Source: n.source, Changed: n.changed}
	if n.broken != nil {
		i.Error = fault.Of(n.broken).Message
	}
	return i
}

func (f *Feature) putCategory(ctx context.Context, p PutCategoryParams) (CategoryItem, error) {
	n, err := f.categories.put(ctx, p.Name, p.Category)
	if err != nil {
		return CategoryItem{}, err
	}
	return n.item(), nil
}

// CategoryList is the result of categories.list, by name.
type CategoryList struct {
	Items []CategoryItem `json:"items"`
}

func (f *Feature) listCategories(context.Context, struct{}) (CategoryList, error) {
	all := *f.categories.force.Load()
	list := CategoryList{Items: make([]CategoryItem, 0, len(all))}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list.Items = append(list.Items, all[name].item())
	}
	return list, nil
}

// DeleteCategoryParams are the params of categories.delete.
type DeleteCategoryParams struct {
	Name string `json:"name"`
}

func (f *Feature) deleteCategory(ctx context.Context, p DeleteCategoryParams) (struct{}, error) {
	if p.Name == "" {
		return struct{}{}, fault.Field("name", "is missing")
	}
	return struct{}{}, f.categories.remove(ctx, p.Name)
}

// MuteParams are the params of categories.mute.
type MuteParams struct {
	User     string `json:"user"`
	Category string `json:"category,omitempty" jsonschema:"when absent, nothing changes"`
	Muted    *bool  `json:"muted,omitempty" jsonschema:"with category: true, its messages no longer come by themselves; false, they do"`
}

// Muted is the result of categories.mute.
type Muted struct {
	Muted []string `json:"muted" jsonschema:"all categories that the user has muted, by name"`
}

func (f *Feature) mute(ctx context.Context, p MuteParams) (m Muted, err error) {
	if err := protocol.UserID("user", p.User); err != nil {
		return m, err
	}
	switch {
	case p.Category != "" && p.Muted == nil:
		return m, fault.Field("muted", "is missing; true or false")
	case p.Category == "" && p.Muted != nil:
		return m, fault.Field("category", "is missing; muted goes with it")
	}
	if _, err := f.running(); err != nil {
		return m, err
	}
	if p.Category == "" {
		m.Muted, err = f.cfg.Engine.Muted(ctx, p.User)
	} else {
		m.Muted, err = f.setMuted(ctx, p.User, p.Category, *p.Muted)
	}
	if m.Muted == nil {
		m.Muted = []string{}
	}
	return m, err
}

// setMuted mutes a category for a user, or unmutes it.
func (f *Feature) setMuted(ctx context.Context, user, category string, muted bool) ([]string, error) {
	mutable, known := f.Mutable(category)
	switch {
	case muted && !known:
		return nil, unknown(category)
	case muted && !mutable:
		e := fault.New(fault.Denied, "category: %q cannot be muted", category)
		e.Field = "category"
		return nil, e
	case !known:
		// What was muted and is gone may be unmuted.
		list, err := f.cfg.Engine.Muted(ctx, user)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, category) {
			return nil, unknown(category)
		}
	}
	return f.cfg.Engine.Mute(ctx, user, category, muted)
}
