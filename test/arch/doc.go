// Package arch holds the promises about the shape of the repository that no compiler and no linter sees: which layer
// imports which, what may stand at the top level, how long a file may be, and which words have no place here.
//
// It has tests only, and they look at the files of the work tree: tracked ones, and new ones that git does not ignore.
package arch
