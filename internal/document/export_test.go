package document

// Queue tells how many patches of a document wait for their turn.
func (d *Documents) Queue(name string) int {
	x := d.peek(name)
	if x == nil {
		return 0
	}
	x.queue.Lock()
	defer x.queue.Unlock()
	return len(x.waiting)
}

// Loaded tells whether a document is in memory.
func (d *Documents) Loaded(name string) bool { return d.peek(name) != nil }
