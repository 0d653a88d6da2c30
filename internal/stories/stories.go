// Package stories runs the failures that stray exists for, with the software in
// which they were met. It has tests only.
package stories
