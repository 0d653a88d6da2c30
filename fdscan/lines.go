package fdscan

import (
	"bufio"
	"io"
	"os"
)

// eachLine calls f with every line of a file of /proc, less its new line, until
// f returns an error. The memory that it takes does not grow with the file; a
// line longer than any that the kernel writes is cut.
func eachLine(path string, f func(line []byte) error) error {
	const longest = 64 << 10 // a path has 4 KiB, and each byte may be escaped
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, longest)
	for rest := false; ; {
		line, cut, err := r.ReadLine()
		if err == io.EOF {
			return nil
		}
		if err == nil && !rest {
			err = f(line)
		}
		if err != nil {
			return err
		}
		rest = cut
	}
}
