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

func startOn(*exec.Cmd, ...int) error { return errors.ErrUnsupported }

func inMemory(string) (bool, error) { return false, errors.ErrUnsupported }

func kernel() string { return runtime.GOOS }
