package verb

// Kept is how many records m holds, whatever they are for.
func Kept(m *Memo) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.order)
}
