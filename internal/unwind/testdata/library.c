void library_call(void (*then)(const char *)) {
	then("library");
	__asm__ volatile(""); /* so that the call is not the last instruction */
}
