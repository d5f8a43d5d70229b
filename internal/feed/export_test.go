package feed

// Named tells of how many connections something is known beside what the hub knows.
func (f *Feeds) Named(channel string) int {
	ch := f.peek(channel)
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return len(ch.readers.of)
}
