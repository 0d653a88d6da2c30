package bench

import (
	"fmt"
	"os"
	"testing"

	"stray/internal/testenv"
)

func TestMain(m *testing.M) {
	name := os.Getenv(worldEnv)
	if index := os.Getenv(memberEnv); index != "" {
		end(member(name, index))
	}
	if name != "" {
		end(generate(name))
	}
	code := testenv.Checked(m).Run()
	for _, o := range summary {
		o.print(os.Stdout)
	}
	if err := remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// end ends a process of the load generator.
func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "load generator:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
