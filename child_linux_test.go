package skein_test

func runChild(string) int { return 2 }
