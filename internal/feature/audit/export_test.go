package audit

import "context"

// Trim deletes what is too old now.
func (f *Feature) Trim(ctx context.Context, st Store) { f.trim(ctx, st) }

// TargetOf is what params are about.
func TargetOf(raw []byte) string { return targetOf(raw) }
