// The exception of the library and the two ways to raise it.
#include <strata/core/error.hpp>

#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/other_locale.hpp"

TEST_CASE("error: parts of a message are joined") {
  CHECK(strata::to_text("level ", 3, " has ", 0.5, ' ', std::string("positions")) == "level 3 has 0.5 positions");
  CHECK(message_of([] { strata::fail("a ", 1, " b"); }) == "a 1 b");
}

TEST_CASE("error: numbers look the same in every locale") {
  const other_cpp_locale cpp;
  const other_c_locale c;
  CHECK(strata::to_text(1234567, " ", std::size_t{1024}, " ", 1234.5, " ", 1e6f) == "1234567 1024 1234.5 1e+06");
  CHECK(message_of([] { strata::require(false, "bytes: ", 123456789); }) == "bytes: 123456789");
}

TEST_CASE("error: require throws only where the condition fails") {
  CHECK_NOTHROW(strata::require(true, "never"));
  CHECK(message_of([] { strata::require(false, "threads: ", -1); }) == "threads: -1");
}

TEST_CASE("error: it is a runtime_error") { CHECK_THROWS_AS(strata::fail("x"), std::runtime_error); }
