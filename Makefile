# offsync: any table syncs with offline-first apps.  "make help" lists the targets.

EXTENSION  = offsync
MODULE_big = offsync
PGFILEDESC = "offsync - sync tables with offline-first apps"
RELEASE    = $(shell sed -n 's/.*"version": *"\([0-9.]*\)".*/\1/p' META.json | head -n 1)

DATA       = $(wildcard offsync--*.sql)
OBJS       = $(patsubst %.c,%.o,$(wildcard src/*.c src/*/*.c))
HDRS       = $(wildcard src/*.h src/*/*.h)

# Server headers trip over the three warnings that are switched off.
PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS   = -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Wno-sign-compare

# "make installcheck" runs these two against a running server; "make test" is the whole of it.
REGRESS        = $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))
REGRESS_OPTS   = --load-extension=offsync
ISOLATION      = $(sort $(patsubst test/isolation/specs/%.spec,%,$(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --load-extension=offsync --inputdir=test/isolation

PG_CONFIG ?= pg_config
PGXS      := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)
else
all install clean installcheck: ; $(error no PGXS: install postgresql-server-dev-15, or set PG_CONFIG)
endif

# No dependency tracking here: whatever header changes, everything is built again.
$(OBJS) $(OBJS:.o=.bc): $(HDRS)

# make's own targets and PGXS's, with the words that "make help" prints.
all: ## build the extension
install: ## install it into the server that pg_config names
clean: ## remove what was built
installcheck: ## regression and isolation tests against a running server
.PHONY: test lint fuzz demo bench soak dist help
test: ## every test, on throwaway clusters (SUITES="regress tap" picks some)
	@test/run
lint: ## warnings as errors, clang-tidy, cppcheck, layers, house style
	@test/lint
fuzz: ## the fuzzers, longer than "make test" has time for (SECONDS=n: how long)
	@SUITES=fuzz FUZZ_SECONDS=$(or $(SECONDS),600) LIMIT=$$(($(or $(SECONDS),600) + 300)) test/run
demo: ## two users and three devices edit offline and end up agreeing
	@test/demo/run
bench: ## what pulls, pushes, pages, memberships and tracking cost, beside the alternatives (SCALE=n: more rows)
	@test/bench/run
soak: ## devices, crashes and a bad line for two minutes, then all must agree (SEED=n SECONDS=n CLIENTS=n FAULTS="...")
	@test/soak/run
dist: ## the release archive of what is committed
	git archive --format=zip --prefix=offsync-$(RELEASE)/ -o offsync-$(RELEASE).zip HEAD
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
