# Each target first installs what it needs, if that is missing.

PYTHON_OF_VENV = .venv/bin/python

# Three for two cores, because tests mostly wait.
WORKERS = 3

# The tests in which a kind of Redis can make a difference: they run on each in `make test`.
ON_EACH_REDIS = tests/adapters tests/api/test_exactly_one.py tests/api/test_races.py \
    tests/faults/test_points.py

LINTERS = lint-ruff lint-format lint-types lint-eslint lint-shellcheck lint-luacheck lint-imports lint-gixy

.PHONY: run test test-unit test-sentinel test-cluster test-everywhere coverage \
        simulate attack bench burst evening growth soak lint $(LINTERS) rooms screenshots clean

run: ## start TicketS on http://127.0.0.1:$PORT (8080); REDIS=cluster or sentinel, MONGODB=3
	@ops/install.sh run
	@exec $(PYTHON_OF_VENV) -m ops.run

# Unset, so that Python caches its bytecode: with it, collecting the tests takes half the time.
test: export PYTHONDONTWRITEBYTECODE =
# The other parts also run when one has failed.
test: ## the whole suite, WORKERS (3) files at once, each worker with real servers of its own
	@ops/install.sh test
	@trap 'exit 130' INT; failed=0; \
	    $(PYTHON_OF_VENV) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
	        -m "not alone" || failed=1; \
	    $(PYTHON_OF_VENV) -m pytest -m alone || failed=1; \
	    $(MAKE) --no-print-directory --keep-going --output-sync --jobs 2 test-sentinel test-cluster \
	        || failed=1; \
	    exit $$failed

test-sentinel test-cluster: test-%: ## the tests in which the kind of Redis matters, on that kind
	@ops/install.sh test
	@exec $(PYTHON_OF_VENV) -m pytest --redis=$* $(ON_EACH_REDIS)

test-everywhere: ## the whole suite, and every test that uses Redis again on Sentinels and a cluster
	@ops/install.sh test
	@trap 'exit 130' INT; failed=0; \
	    for kind in server sentinel cluster; do \
	        echo "Redis: $$kind"; \
	        $(PYTHON_OF_VENV) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
	            --redis=$$kind -m "not alone" || failed=1; \
	        $(PYTHON_OF_VENV) -m pytest --redis=$$kind -m alone || failed=1; \
	    done; \
	    exit $$failed

test-unit: ## the tests that start nothing, in seconds
	@ops/install.sh test
	@exec $(PYTHON_OF_VENV) -m pytest -m unit

# Tests that measure time may fail under coverage; the report is made nevertheless.
coverage: ## which lines and branches of the code no test reaches; TESTS=tests/api for one folder
	@ops/install.sh test
	@rm -rf var/coverage
	-@$(PYTHON_OF_VENV) -m coverage run -m pytest -n $(WORKERS) --dist loadfile -m "not alone" $(TESTS)
	@$(PYTHON_OF_VENV) -m coverage combine --quiet
	@$(PYTHON_OF_VENV) -m coverage report

simulate: ## sales in which several things fail at once: MINUTES (1) or one SEED, KEEP=1
	@ops/install.sh test
	@exec $(PYTHON_OF_VENV) -m tests.simulator

attack: ## what a flood of each route costs everybody else
	@ops/install.sh burst
	@exec $(PYTHON_OF_VENV) -m tests.attacks

bench: ## what a call costs, here and with other frameworks; REDIS MONGODB ONLY ROUNDS; KEEP=1 writes docs/bench/bench*
	@ops/install.sh bench
	@exec $(PYTHON_OF_VENV) -m tests.bench

burst: ## a sale under load and its verdict: EVENT CROWD BOTS SECONDS SEED STRIPE_RATE REDIS MONGODB, CHAOS=1, KEEP=1
	@ops/install.sh burst
	@exec $(PYTHON_OF_VENV) -m tests.burst

evening: ## one show from its announcement to the last seat that is let in, and the numbers
	@ops/install.sh test
	@exec $(PYTHON_OF_VENV) -m tests.burst.evening

growth: ## docs/bench/growth*, what grows with the hall and what does not
	@ops/install.sh bench
	@exec $(PYTHON_OF_VENV) -m tests.bench.growth

soak: ## docs/bench/soak.json, what grows while TicketS works for MINUTES (30)
	@ops/install.sh bench
	@exec $(PYTHON_OF_VENV) -m tests.bench.soak

lint: ## all LINTERS, even after one has failed; each is a target, too
	@ops/install.sh lint
	@$(MAKE) --no-print-directory --keep-going --output-sync --jobs 2 $(LINTERS)

lint-ruff: ## mistakes and style in Python; which rules, and why: pyproject.toml
	$(PYTHON_OF_VENV) -m ruff check .

lint-format:
	$(PYTHON_OF_VENV) -m ruff format --check .

lint-types:
	$(PYTHON_OF_VENV) -m mypy

lint-imports: ## the rules about imports between packages: [tool.importlinter] in pyproject.toml
	.venv/bin/lint-imports --no-cache

lint-eslint: ## mistakes in scripts, and in those of the pages features that the oldest browsers lack
	ops/eslint/node_modules/.bin/eslint --config ops/eslint/eslint.config.js web/static ops/eslint tests

lint-shellcheck:
	.venv/bin/shellcheck $$(git grep --files-with-matches --extended-regexp '^#!.*[/ ](ba)?sh$$')

lint-luacheck: ## mistakes in the Lua scripts, with their includes inserted
	$(PYTHON_OF_VENV) -m ops.luacheck

lint-gixy: ## weaknesses in each rendering of nginx's configuration
	$(PYTHON_OF_VENV) -m pytest --quiet tests/nginx/test_nginx_renderings.py -k gixy

rooms: ## docs/rooms.svg, the imports between packages, without arrows that others imply
	@ops/install.sh rooms
	.venv/bin/import-linter drawgraph web >var/rooms.dot
	sed 's/"\./"/g' var/rooms.dot | tred | dot -Nshape=box -Tsvg -o docs/rooms.svg

screenshots: ## docs/screenshots, a picture of every page
	@ops/install.sh screenshots
	@exec $(PYTHON_OF_VENV) -m tests.browser.screenshots

clean: ## remove everything that make created: packages, and in var/ the bookings of `make run`
	@if [ -e var/run.lock ]; then flock --nonblock var/run.lock true \
	    || { echo "TicketS is running; stop it first." >&2; exit 1; }; fi
	rm -rf .venv var burst-report tests/bench/express/node_modules tests/bench/fastapi/.venv ops/eslint/node_modules .pytest_cache .hypothesis .ruff_cache .mypy_cache .grimp_cache
