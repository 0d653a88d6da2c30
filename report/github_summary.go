package report

var _ = register(&Format{
	Name:   "github-summary",
	Title:  "markdown that is appended, for --report github-summary=$GITHUB_STEP_SUMMARY",
	Append: true,
	Write:  writeMarkdown,
})
