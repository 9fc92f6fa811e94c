# Makefile of workflow_interrupt, the only build file; see "make help".

EXTENSION = workflow_interrupt
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" $(EXTENSION).control)

export PG_CONFIG ?= pg_config

# These targets need nothing but make and git on a Debian machine: they first
# install what is missing.  They stand apart from PGXS, which may not be there.
HOUSE = help demo check bench coverage indent indent-check

ifneq (,$(filter $(HOUSE),$(MAKECMDGOALS)))

REST = $(filter-out $(HOUSE),$(MAKECMDGOALS))
SUDO = $(if $(filter 0,$(shell id -u)),,sudo)
MAKEFLAGS += --no-print-directory

.PHONY: $(HOUSE) $(REST) ready
.NOTPARALLEL:

help:
	@echo 'make               build the library and wf_worker'
	@echo 'make install       install them (as root)'
	@echo 'make installcheck  run all tests against the running server, with the'
	@echo '                   library in its shared_preload_libraries'
	@echo 'make uninstall     remove what install installed'
	@echo 'make clean         remove what was built'
	@echo
	@echo 'The following install missing Debian packages, build, install the'
	@echo 'extension and use a server of their own, which they remove at the end:'
	@echo
	@echo 'make demo          show workflows being cancelled, terminated, reset;'
	@echo '                   KEEP=1 ends in psql on the demo database'
	@echo 'make check         run all tests'
	@echo 'make bench         measure; PARTS="claims heartbeats" only some'
	@echo
	@echo 'For developers:'
	@echo
	@echo 'make indent        format the C code; indent-check only looks'
	@echo 'make coverage      run all tests and tell which lines they reached'
	@echo
	@echo 'PG_CONFIG=/path/to/pg_config chooses the server, 15 or later.'

ready:
	@test/tools/setup
	@$(MAKE) -s $(if $(findstring --jobserver,$(MAKEFLAGS)),,-j$(shell nproc)) with_llvm=no all
	@$(SUDO) $(MAKE) -s with_llvm=no PG_CONFIG='$(PG_CONFIG)' install

demo: ready
	@test/tools/with-cluster test/demo/demo

# Once with every access to tables in SQL, then as usual, see store_direct.c.
check: ready
	@test/tools/with-cluster sh -c '\
		PGOPTIONS="-c workflow_interrupt.direct_access=off" \
			$(MAKE) -s installcheck TAP_TESTS= && $(MAKE) -s installcheck'

bench: ready
	@test/tools/setup --bench
	@test/tools/with-cluster test/bench/run $(PARTS)

coverage:
	@test/tools/setup --coverage
	@test/tools/coverage

indent:
	@test/tools/setup --indent
	@test/tools/indent

indent-check:
	@test/tools/setup --indent
	@test/tools/indent --check

$(REST):
	@$(MAKE) $@

else

MODULE_big = $(EXTENSION)
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
DATA = $(wildcard sql/$(EXTENSION)--*--*.sql)
DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql
PG_CPPFLAGS = -DWFI_VERSION='"$(EXTVERSION)"' -I$(libpq_srcdir)

# PGXS builds a library or a program, not both: wf_worker has its own rules.
CLIENT = wf_worker
CLIENT_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/client/*.c)))
EXTRA_CLEAN = $(CLIENT) $(CLIENT_OBJS)

# Inputs are in test/, what they must print is in expected/.
# The first regression test makes the extension and what the others share.
TESTS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS = $(filter setup,$(TESTS)) $(filter-out setup,$(TESTS))
REGRESS_OPTS = --inputdir=test
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=$(EXTENSION)
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq (,$(wildcard $(shell $(PG_CONFIG) --includedir-server)/postgres.h))
$(error the development files of a PostgreSQL server are missing; on Debian, test/tools/setup installs them)
endif
include $(PGXS)

ifneq (,$(filter 8.% 9.% 10 11 12 13 14,$(MAJORVERSION)))
$(error $(EXTENSION) needs PostgreSQL 15 or later, and this is $(VERSION))
endif

$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h) $(EXTENSION).control
$(CLIENT_OBJS): $(wildcard src/client/*.h) $(EXTENSION).control

$(DATA_built): sql/$(EXTENSION).sql $(EXTENSION).control
	cp $< $@

$(CLIENT): $(CLIENT_OBJS)
	$(CC) $(CFLAGS) $^ $(LDFLAGS) $(LDFLAGS_EX) $(libpq) -o $@

all: $(CLIENT)

.PHONY: install-client uninstall-client
install: install-client
install-client: $(CLIENT)
	$(MKDIR_P) '$(DESTDIR)$(bindir)'
	$(INSTALL_PROGRAM) $(CLIENT) '$(DESTDIR)$(bindir)'

uninstall: uninstall-client
uninstall-client:
	rm -f '$(DESTDIR)$(bindir)/$(CLIENT)'

endif
