package proctest

import (
	"encoding/json"
	"testing"
)

func TestStory(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		dup fd=9
		epoll web name=ep
		fork { close ep; fork { serve epoll web }; serve sleep }
		fork { exit }
		exec sleep 60
		exec { serve accept web }
		exec as=crow_app {
			listen tcp6 [::1]:0 cloexec=1
			fork { }
			exit
		}
		serve epoll ep
	`)
	b, _ := json.MarshalIndent(p, "", " ")
	t.Logf("%s", b)
}
