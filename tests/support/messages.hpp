// Looks at the message of an error, the same way under Catch2 2 and 3.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <strata/core/error.hpp>

/// The message of the `strata::error` that `action` throws, or a sentence that it threw none. Any other
/// exception passes through and fails the test.
template <class Action>
std::string message_of(Action&& action) {
  try {
    action();
  } catch (const strata::error& problem) {
    return problem.what();
  }
  return "(no strata::error was thrown)";
}

/// The parts that `message` lacks, each in brackets. Empty when it has them all, so that a failing
/// `CHECK(missing_in(message, {...}) == "")` shows what is missing.
inline std::string missing_in(std::string_view message, const std::vector<std::string>& parts) {
  std::string missing;
  for (const std::string& part : parts)
    if (message.find(part) == std::string_view::npos) missing += "[" + part + "]";
  return missing.empty() ? "" : missing + " in: " + std::string(message);
}
