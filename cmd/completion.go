package cmd

import (
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"stray/fdscan"
	"stray/inspect/rules"
	"stray/report"
)

// completeFlags gives the flags that several commands have what a shell offers
// for them.
func completeFlags(root *cobra.Command) {
	for _, c := range root.Commands() {
		for name, complete := range map[string]cobra.CompletionFunc{"pid": completePIDs, "output": completeFormats, "report": completeReports} {
			if c.Flags().Lookup(name) != nil {
				_ = c.RegisterFlagCompletionFunc(name, complete)
			}
		}
	}
}

// offer is a word with what it means.
func offer(word, meaning string) string { return word + "\t" + report.Printable(meaning) }

// completePIDs offers the processes, but for this one.
func completePIDs(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	programs, err := (&fdscan.Scanner{}).Programs()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	before := word[:strings.LastIndexByte(word, ',')+1] // -p takes several at once
	var words []string
	for _, p := range programs {
		if p.PID != os.Getpid() {
			words = append(words, offer(before+strconv.Itoa(p.PID), p.Command))
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeFormats offers the formats that a command has: those without reports
// know two.
func completeFormats(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, f := range report.Formats() {
		if c.Flags().Lookup("report") != nil || f.Name == "table" || f.Name == "json" {
			words = append(words, offer(f.Name, f.Title))
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeReports offers formats, and then files.
func completeReports(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(word, "=") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var words []string
	for _, f := range report.Formats() {
		words = append(words, offer(f.Name+"=", f.Title))
	}
	return words, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// completeTargets offers the ports that are taken.
func completeTargets(*cobra.Command, []string, string) (words []string, _ cobra.ShellCompDirective) {
	tcp, _ := fdscan.ListeningPorts()
	for _, port := range tcp {
		words = append(words, strconv.Itoa(int(port)))
	}
	udp, _ := fdscan.UDPPorts()
	for _, port := range udp {
		words = append(words, "udp:"+strconv.Itoa(int(port)))
	}
	return words, cobra.ShellCompDirectiveDefault
}

// completeRules offers the rules, by id.
func completeRules(_ *cobra.Command, args []string, _ string) (words []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, r := range rules.All() {
		words = append(words, offer(r.ID, r.Title))
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
