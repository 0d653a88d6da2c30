package archtest

import (
	"testing"

	"stray/inspect/fdtest"
)

func TestMain(m *testing.M) { fdtest.VerifyTestMain(m) }
