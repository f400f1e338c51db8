// What the example programs share: one sentence and an exit code for every error, checks of options, the options of
// devices.
#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <limits>
#include <set>
#include <string>
#include <sys/resource.h>

#include <strata/core/error.hpp>

#include "console.hpp"
#include "device.hpp"

namespace examples {

/// Parses the command line and runs `body`. Every failure becomes one sentence on standard error and the exit code 1.
template <class Body>
int run_program(CLI::App& app, int argc, char** argv, Body body) {
  // A file that grows past a limit is an error of the write, not the end of the program.
  std::signal(SIGXFSZ, SIG_IGN);
  app.get_formatter()->column_width(40);
  std::string problem;
  try {
    app.parse(argc, argv);
    const int status = body();
    strata::require(std::cout.flush().good(), "cannot write to standard output");
    return status;
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    problem = error.what() + std::string("; --help lists all options");
  } catch (const std::bad_alloc&) {
    problem = "out of memory";
  } catch (const std::exception& error) {
    problem = error.what();
  } catch (...) {
    problem = "unknown";
  }
  std::cerr << app.get_name() << ": error: " << problem << '\n';
  return 1;
}

/// Lets this process open as many files as it may. A text may be of more files than are usual.
inline void allow_many_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// Fails where an option is given that is not among `used`: it has no effect beside the option `with`.
inline void require_only(const CLI::App& app, const std::string& with, const std::set<std::string>& used) {
  std::string unused;
  for (const CLI::Option* option : app.get_options())
    if (option->count() > 0 && option->get_name() != with && !used.contains(option->get_name()))
      unused += (unused.empty() ? "" : ", ") + option->get_name();
  strata::require(unused.empty(), "with ", with, " these options have no effect: ", unused);
}

/// Accepts whole numbers from `least` to `most`. CLI11 alone reads -1 as a huge number and cuts numbers off that are
/// too large.
inline CLI::Validator whole_number(std::uint64_t least, std::uint64_t most = 1'000'000'000'000) {
  const auto check = [least, most](const std::string& given) {
    std::uint64_t value = 0;
    const char* const end = given.data() + given.size();
    const auto [stop, problem] = std::from_chars(given.data(), end, value);
    if (problem == std::errc() && stop == end && value >= least && value <= most) return std::string();
    return strata::to_text("expects a whole number from ", least, " to ", most, ", not '", given, "'");
  };
  return {check, ""};
}

/// The most bytes that the programs generate at once.
inline constexpr std::uint64_t longest_text = 1'000'000;

/// Accepts finite numbers for which `fit` holds. `expected` describes them in the error.
inline CLI::Validator number(const char* expected, std::function<bool(double)> fit) {
  const auto check = [expected, fit](const std::string& given) {
    double value = 0;
    const char* const end = given.data() + given.size();
    const auto [stop, problem] = std::from_chars(given.data(), end, value);
    if (problem == std::errc() && stop == end && std::isfinite(value) && fit(value)) return std::string();
    return strata::to_text("expects ", expected, ", not '", given, "'");
  };
  return {check, ""};
}
inline CLI::Validator positive_number(double most = std::numeric_limits<double>::max()) {
  return number("a positive number", [most](double value) { return value > 0 && value <= most; });
}
inline CLI::Validator number_from_0() {
  return number("a number that is not negative", [](double value) { return value >= 0; });
}
inline CLI::Validator number_to_1() {
  return number("a number from 0 to 1", [](double value) { return value >= 0 && value <= 1; });
}
inline CLI::Validator number_below_1() {
  return number("a number from 0 to below 1", [](double value) { return value >= 0 && value < 1; });
}

/// Adds the options that choose where a program computes.
inline void add_device_options(CLI::App& app, device_options& options) {
  app.add_option("--device", options.name, has_cuda ? "where to compute" : "where to compute; this build has cpu only")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str()
      ->group("Device");
  app.add_option("--threads", options.threads, "threads of the device cpu; 0: one for each processor")
      ->check(whole_number(0, 1024))
      ->capture_default_str()
      ->group("Device");
}

/// Fails where this program lacks the chosen device, and where an option of another device is given.
inline void require_device(const CLI::App& app, const device_options& options) {
  if (options.name == "cpu") return;
  strata::require(
      has_cuda, "--device ", options.name,
      ": this program was built without CUDA; configure it with -DSTRATA_CUDA=ON, or take the preset cuda-release");
  for (const char* name : {"--threads", "--products"}) {
    const CLI::Option* const option = app.get_option_no_throw(name);
    strata::require(option == nullptr || option->count() == 0, name, " belongs to --device cpu, not to --device ",
                    options.name);
  }
}

}  // namespace examples
