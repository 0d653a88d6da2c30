package proctest

import (
	"fmt"
	"strings"
	"testing"
)

// outline writes operations in one line.
func outline(ops []*operation) string {
	var words []string
	for _, op := range ops {
		text := fmt.Sprintf("%s%q%v", op.Name, op.Args, op.Options)
		if op.Process != 0 {
			text += fmt.Sprintf("#%d", op.Process)
		}
		if op.Body != nil {
			text += "{" + outline(op.Body) + "}"
		}
		words = append(words, text)
	}
	return strings.Join(words, " ")
}

func TestParse(t *testing.T) {
	for script, want := range map[string]string{
		"# serve\nexit 1 # ; }": `exit["1"]map[]`,
		"":                      "",
		" ;\n":                  "",
		"listen tcp4 127.0.0.1:0 name=web fd=7;close": `listen["tcp4" "127.0.0.1:0"]map[fd:7 name:web] close[]map[]`,
		"fork{}\nexec sleep 60":                       `fork[]map[]#2{} exec["sleep" "60"]map[]#3`,
		"fork times=2 { fork { }; serve sleep }": `fork[]map[times:2]#2{fork[]map[]#3{} serve["sleep"]map[]} ` +
			`fork[]map[times:2]#4{fork[]map[]#5{} serve["sleep"]map[]}`,
		`exec LISTEN_FDS=1 pass=a { become { exit } }`: `exec["LISTEN_FDS=1"]map[pass:a]#2{become[]map[]{exit[]map[]}}`,
		`open "a b;{}\n\x00=" write=1`:                 `open["a b;{}\n\x00="]map[write:1]`,
		"timewait tcp4 127.0.0.1:0 name=t": `listen["tcp4" "127.0.0.1:0"]map[name:t] connect["tcp4" "t"]map[name:tclient] ` +
			`accept["t"]map[name:tserver] close["tserver"]map[] close["tclient"]map[] close["t"]map[] await["tserver" "TIME_WAIT"]map[]`,
	} {
		ops, err := parse(script)
		if got := outline(ops); err != nil || got != want {
			t.Errorf("%s\n is %s, %v\n want %s", script, got, err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for script, want := range map[string]string{
		"nosuch":                            `unknown operation "nosuch"`,
		"fork { nosuch }":                   `unknown operation "nosuch"`,
		"fork { ":                           `a "{" has no "}"`,
		"exit }":                            `a "}" has no "{"`,
		"{ }":                               `operation expected, found "{"`,
		`"exit"`:                            `operation expected, found "exit"`,
		`open "x`:                           `word in quotes never ends: "x`,
		"listen tcp4":                       "listen tcp4: usage: listen NETWORK ADDRESS",
		"close x { }":                       "close takes no block",
		"fork":                              "fork needs a block",
		"fork { listen tcp4 127.0.0.1:0 }":  "listen tcp4 127.0.0.1:0: not inside of fork { … }",
		"fork { fork { exec sleep 1 } }":    "exec sleep 1: not inside of fork { … }",
		"exit; exit":                        "exit: nothing can follow it",
		"close nosuch=1":                    "close: unknown option nosuch=; usage: close [FD…]",
		"dup fd=x":                          `dup: fd="x" does not match`,
		"dup cloexec=2":                     `dup: cloexec="2" does not match`,
		"dup name=Web":                      `dup: name="Web" does not match`,
		"exec { serve accept; close 3 }":    "serve accept: nothing can follow it",
		"fork times=many { }":               `fork: times="many" does not match`,
		"netns { serve sleep }":             "serve sleep: not inside of netns { … }",
		"thread { listen unix @x }":         "listen unix @x: not inside of thread { … }",
		"thread { fork { } }":               "fork: not inside of thread { … }",
		"fork { thread { } }":               "thread: not inside of fork { … }",
		"exec { thread own=yes { pause } }": `thread: own="yes" does not match`,
	} {
		_, err := parse(script)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v; want %s", script, err, want)
		}
	}
}

// Every operation says what it is, and its options stand in its usage.
func TestLanguageIsComplete(t *testing.T) {
	text := Language()
	for name, spec := range specifications {
		if !strings.Contains(text, spec.usage+"\n    "+spec.text+"\n") {
			t.Errorf("%s is not in the text", name)
		}
		ways := 0
		for _, has := range []bool{spec.expand != nil, spec.compile != nil, spec.run != nil} {
			if has {
				ways++
			}
		}
		if ways != 1 || spec.text == "" || spec.text[len(spec.text)-1] != '.' {
			t.Errorf("%s is incomplete", name)
		}
		for _, option := range spec.options {
			if !strings.Contains(spec.usage, option+"=") {
				t.Errorf("%s: option %s is not in its usage", name, option)
			}
		}
		if strings.Contains(spec.usage, "{ … }") != spec.block {
			t.Errorf("%s: its usage is wrong about a block", name)
		}
	}
}

// The text of fork names what a raw child can do.
func TestForkNamesItsOperations(t *testing.T) {
	text := specifications["fork"].text
	for name, spec := range specifications {
		if specifications["fork"].admits(spec) && !strings.Contains(text, name) {
			t.Errorf("fork does not say that its child can %s", name)
		}
	}
}
