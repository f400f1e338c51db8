// Where a program computes. A device is a class with the same members in cpu_device.hpp and cuda_device.hpp.
#pragma once

#include <map>
#include <string>

#include <strata/core/error.hpp>

namespace examples {

#if STRATA_HAS_CUDA
inline constexpr bool has_cuda = true;
#else
inline constexpr bool has_cuda = false;
#endif

struct device_options {
  std::string name = "cpu", products = "automatic", precision = "float32";
  int threads = 0;
};

/// The value called `asked`; `option` and `device` are for the error's sentence.
template <class Value>
Value named(const std::map<std::string, Value>& values, const std::string& asked, const char* option,
            const char* device) {
  const auto found = values.find(asked);
  if (found != values.end()) return found->second;
  std::string names;
  for (const auto& [name, value] : values) names += ' ' + name;
  strata::fail(option, " ", asked, " is nothing that --device ", device, " has; there are:", names);
}

}  // namespace examples
