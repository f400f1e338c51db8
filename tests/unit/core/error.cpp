// The exception of the library and the two ways to raise it.
#include <strata/core/error.hpp>

#include "support/catch.hpp"
#include "support/messages.hpp"

TEST_CASE("error: parts of a message are joined") {
  CHECK(strata::to_text("level ", 3, " has ", 0.5, ' ', std::string("positions")) == "level 3 has 0.5 positions");
  CHECK(message_of([] { strata::fail("a ", 1, " b"); }) == "a 1 b");
}

TEST_CASE("error: require throws only where the condition fails") {
  CHECK_NOTHROW(strata::require(true, "never"));
  CHECK(message_of([] { strata::require(false, "threads: ", -1); }) == "threads: -1");
}

TEST_CASE("error: it is a runtime_error") { CHECK_THROWS_AS(strata::fail("x"), std::runtime_error); }
