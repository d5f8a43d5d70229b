package push

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/store"
)

// maxStored bounds the categories that the API keeps: all of them are in memory.
const maxStored = 1000

// rereadEvery is how often categories are read that other nodes may have changed.
const rereadEvery = 2 * time.Second

// Where a category comes from.
const (
	fromConfig = "config"
	fromAPI    = "api"
)

// named is one category in force.
type named struct {
	*rules
	name    string
	source  string
	changed int64  // of one of the API: Unix milliseconds
	body    []byte // of one of the API: as it is stored

	policy fatigue.Policy // shared by all messages, never changed
	broken error          // why nothing can be pushed under it: its parents are not what they were
}

// categories are the categories of a node: those of the configuration and, below them,
// those of the API, which are in the store.
type categories struct {
	logger *slog.Logger
	now    func() time.Time

	force atomic.Pointer[map[string]*named]

	mu         sync.Mutex // guards all below, and changes of force
	store      Store      // nil: only the configuration's are there
	configured map[string]*rules
	kept       map[string]*named // those of the store
}

func newCategories(logger *slog.Logger, now func() time.Time) *categories {
	c := &categories{logger: logger, now: now}
	c.force.Store(&map[string]*named{})
	return c
}

// configure replaces those of the configuration.
func (c *categories) configure(all map[string]Category) error {
	configured := make(map[string]*rules, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := checkName("categories", name); err != nil {
			return err
		}
		r, err := all[name].check()
		if err != nil {
			return fatigue.Within("categories."+name, err)
		}
		configured[name] = r
	}
	for _, name := range slices.Sorted(maps.Keys(configured)) {
		if err := above(name, configured); err != nil {
			return fatigue.Within("categories."+name, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.configured = configured
	c.mergeLocked()
	return nil
}

// above checks what is above a category.
func above(name string, all map[string]*rules) error {
	up := name
	for level := 1; all[up].Parent != ""; level++ {
		parent := all[up].Parent
		switch {
		case all[parent] == nil && up == name:
			return fault.Field("parent", "there is no category %q", parent)
		case all[parent] == nil:
			return fault.Field("parent", "%q has the parent %q, which is not there", up, parent)
		case parent == up:
			return fault.Field("parent", "is the category itself")
		case parent == name:
			return fault.Field("parent", "%q has this one above it", all[name].Parent)
		case level >= fatigue.MaxLevels:
			return fault.Field("parent", "more than %d categories would be above this one", fatigue.MaxLevels-1)
		}
		up = parent
	}
	return nil
}

// start reads the categories of a store.
func (c *categories) start(ctx context.Context, st Store) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store = st
	return c.rereadLocked(ctx)
}

// reread reads them again every so often, until ctx ends.
func (c *categories) reread(ctx context.Context) {
	tick := time.NewTicker(rereadEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		err := c.rereadLocked(ctx)
		c.mu.Unlock()
		if err != nil && !failing && ctx.Err() == nil {
			c.logger.Warn("the categories cannot be read; those of before go on", "error", err)
		}
		failing = err != nil
	}
}

func (c *categories) rereadLocked(ctx context.Context) error {
	list, err := c.store.Categories(ctx)
	if err != nil {
		return err
	}
	kept := make(map[string]*named, len(list))
	for _, one := range list {
		if old := c.kept[one.Name]; old != nil && bytes.Equal(old.body, one.Body) {
			old.changed = one.Changed
			kept[one.Name] = old
			continue
		}
		r, err := stored(one.Body)
		if err != nil { // a newer version has put it
			c.logger.Error("a category cannot be read", "category", one.Name, "error", err)
		}
		kept[one.Name] = &named{rules: r, name: one.Name, changed: one.Changed, body: one.Body}
	}
	c.kept = kept
	c.mergeLocked()
	return nil
}

// mergeLocked puts those in force that there are. One of the configuration hides one of the
// API that has its name.
func (c *categories) mergeLocked() {
	all := c.allLocked()
	force := make(map[string]*named, len(all))
	for name, r := range all {
		n := &named{rules: r, name: name, source: fromConfig}
		if c.configured[name] == nil {
			n.source, n.changed = fromAPI, c.kept[name].changed
		}
		n.policy, n.broken = freeze(name, all)
		force[name] = n
	}
	c.force.Store(&force)
}

func (c *categories) allLocked() map[string]*rules {
	all := make(map[string]*rules, len(c.kept)+len(c.configured))
	for name, n := range c.kept {
		if n.rules != nil { // else it cannot be read
			all[name] = n.rules
		}
	}
	maps.Copy(all, c.configured)
	return all
}

// freeze makes the policy of a category.
func freeze(name string, all map[string]*rules) (fatigue.Policy, error) {
	if err := above(name, all); err != nil {
		return fatigue.Policy{}, fault.New(fault.Conflict, "category: nothing can be pushed under %q: %s", name, fault.Of(err).Message)
	}
	r := all[name]
	p := fatigue.Policy{
		Category: name, Quiet: r.quiet, OnCap: r.OnCap, OnQuiet: r.OnQuiet, Priority: *r.Priority,
		Bypass: r.Bypass, Counts: r.Counts, Mutable: *r.Mutable,
	}
	for up := name; up != ""; up = all[up].Parent {
		p.Chain = append(p.Chain, fatigue.Level{Category: up, Caps: all[up].caps})
	}
	return p, nil
}

// find gives a category in force, nil when there is none.
func (c *categories) find(name string) *named { return (*c.force.Load())[name] }

// unknown is the error for a category that is not there.
func unknown(name string) error {
	e := fault.New(fault.NotFound, "category: there is no category %q", name)
	e.Field = "category"
	return e
}

// need gives a category under which something can be pushed.
func (c *categories) need(name string) (*named, error) {
	n := c.find(name)
	if n == nil {
		return nil, unknown(name)
	}
	return n, n.broken
}

// put keeps a category of the API.
func (c *categories) put(ctx context.Context, name string, category Category) (*named, error) {
	r, err := category.check()
	if err != nil {
		return nil, err
	}
	body, err := category.body()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "internal error")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.changeableLocked(ctx, name); err != nil {
		return nil, err
	}
	if c.kept[name] == nil && len(c.kept) >= maxStored {
		return nil, fault.New(fault.TooLarge, "name: there are %d categories; no more are kept", maxStored)
	}
	all := c.allLocked()
	all[name] = r
	if err := above(name, all); err != nil {
		return nil, err
	}
	// What is below it goes up through it.
	for _, other := range slices.Sorted(maps.Keys(all)) {
		if other == name || c.find(other) == nil || c.find(other).broken != nil {
			continue
		}
		if above(other, all) != nil {
			return nil, fault.Field("parent", "more than %d categories would be above %q, which is below this one", fatigue.MaxLevels-1, other)
		}
	}
	now := c.now().UnixMilli()
	if _, err := c.store.Do(ctx, store.PutCategory{Name: name, Body: body, Time: now}); err != nil {
		return nil, failure(err)
	}
	c.kept[name] = &named{rules: r, name: name, changed: now, body: body}
	c.mergeLocked()
	return c.find(name), nil
}

// changeableLocked refuses what is not the API's to change. It reads what other nodes have
// changed.
func (c *categories) changeableLocked(ctx context.Context, name string) error {
	if c.store == nil {
		return errNoStore
	}
	if err := c.rereadLocked(ctx); err != nil {
		return failure(err)
	}
	if c.configured[name] != nil {
		return fault.New(fault.Conflict, "name: %q is a category of the configuration", name)
	}
	return nil
}

// remove forgets a category of the API.
func (c *categories) remove(ctx context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.changeableLocked(ctx, name); err != nil {
		return err
	}
	all := c.allLocked()
	for _, other := range slices.Sorted(maps.Keys(all)) {
		if all[other].Parent == name {
			return fault.New(fault.Conflict, "name: %q is the parent of %q", name, other)
		}
	}
	if _, err := c.store.Do(ctx, store.DeleteCategory{Name: name}); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return fault.New(fault.NotFound, "name: there is no category %q", name)
		}
		return failure(err)
	}
	delete(c.kept, name)
	c.mergeLocked()
	return nil
}
