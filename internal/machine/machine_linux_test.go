package machine_test

import (
	"os"
	"testing"

	"github.com/skein-realtime/skein/internal/machine"
)

func TestOpenFilesAreCounted(t *testing.T) {
	before, known := machine.Descriptors()
	if !known || before < 3 {
		t.Fatalf("%d are open (%v)", before, known)
	}
	const more = 20
	for range more {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
	}
	if after, _ := machine.Descriptors(); after != before+more {
		t.Errorf("%d were open, then %d more were opened, and there are %d", before, more, after)
	}
	now, most, known := machine.MaxDescriptors()
	if !known || now < before+more || most < now {
		t.Errorf("at most %d, or %d (%v)", now, most, known)
	}
}

func TestRoomOnTheDisk(t *testing.T) {
	free, total, known := machine.Disk(t.TempDir())
	if !known || total == 0 || free > total {
		t.Errorf("%d of %d bytes are free (%v)", free, total, known)
	}
	if _, _, known := machine.Disk(t.TempDir() + "/none"); known {
		t.Error("what is not there has room")
	}
}
