package proctest

import (
	"testing"

	"stray/internal/testenv"
)

func TestMain(m *testing.M) {
	Main()
	testenv.Main(m)
}
