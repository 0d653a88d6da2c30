package unwind

import (
	"testing"

	"stray/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
