//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"runtime"
)

const (
	serverCore    = 0
	generatorCore = 1
)

func pinSelf(int) error { return errors.ErrUnsupported }

func startOn(int, *exec.Cmd) error { return errors.ErrUnsupported }

func kernel() string { return runtime.GOOS }
