package session

// attached is what ends with a session.
type attached struct {
	turn  uint64
	stops map[uint64]func()
}

// Attach has stop called when the session ends, unless detach is called before.
// stop must be quick. When it has ended already, stop is called at once.
func (s *Session) Attach(stop func()) (detach func()) {
	s.mu.Lock()
	if s.ended.Load() {
		s.mu.Unlock()
		stop()
		return func() {}
	}
	a := &s.callsLocked().attached
	if a.stops == nil {
		a.stops = map[uint64]func(){}
	}
	a.turn++
	n := a.turn
	a.stops[n] = stop
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(a.stops, n)
	}
}
