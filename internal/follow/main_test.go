package follow_test

import (
	"testing"

	"stray/internal/proctest"
	"stray/internal/testenv"
)

func TestMain(m *testing.M) {
	proctest.Main()
	testenv.Main(m)
}
