# The menu of tasks; each line is a script or two in tools/.
.DEFAULT_GOAL := help
.PHONY: help run test test-all prove bench performance torture lint fmt build clean

help:        ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12
run:         ## install what is missing, build, start the demo on http://127.0.0.1:8080
	@tools/run
build:       ## install what is missing and build the release binary and the web pages
	@tools/build
test:        ## unit, end-to-end and browser tests
	@tools/test
test-all:    ## the broad and slow tests that `test` leaves out
	@tools/test --broad
prove:       ## one table: what was sent, acknowledged and counted, through crashes
	@tools/prove
bench:       ## benchmarks; JOB=name for one of them
	@tools/bench $(JOB)
performance: ## measures ingest beside its peers, and its growth; writes docs/performance.md (20 min)
	@tools/bench ingest peers growth
	@build/venv/bin/python bench/page.py
torture:     ## sanitizers, long fuzzing, crashes, faults and full disks, 10,000 streams
	@tools/torture
lint:        ## layers, format, clang-tidy
	@tools/lint
fmt:         ## formats the C++ sources in place
	@git ls-files 'src/*.h' 'src/*.cc' 'bench/*.h' 'bench/*.cc' 'tests/*.cc' | xargs clang-format-19 -i
clean:       ## removes what was built, not what was installed or recorded
	@rm -rf build web/dist
