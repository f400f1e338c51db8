// Numbers for tests: the same for every backend and scalar, kept where operations may use them, and compared.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <strata/core/random.hpp>
#include <strata/core/view.hpp>
#include <strata/core/weight_format.hpp>

/// |got - expected| / |expected|, or |got| where |expected| is 0. NaN if any number is NaN.
inline double relative_error(const std::vector<double>& got, const std::vector<double>& expected) {
  if (got.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double wrong = 0, size = 0;
  for (std::size_t n = 0; n < got.size(); ++n) {
    wrong += (got[n] - expected[n]) * (got[n] - expected[n]);
    size += expected[n] * expected[n];
  }
  return size > 0 ? std::sqrt(wrong / size) : std::sqrt(wrong);
}

inline double dot(const std::vector<double>& x, const std::vector<double>& y) {
  double sum = x.size() == y.size() ? 0 : std::numeric_limits<double>::quiet_NaN();
  for (std::size_t n = 0; n < x.size() && n < y.size(); ++n) sum += x[n] * y[n];
  return sum;
}

/// The memory of one backend's tensors during a test. Two benches with the same seed, asked for the same tensors in the
/// same order, hold the same numbers, whatever their scalars. NaNs lie around every tensor: reading them spoils a
/// result, writing over them is noticed.
template <class Backend>
class workbench {
 public:
  using scalar = typename Backend::scalar;
  using index_type = strata::index_type;
  using token = strata::token;
  template <std::size_t Rank>
  using tensor = strata::view<scalar, static_cast<int>(Rank)>;
  template <std::size_t Rank>
  using tokens_view = strata::view<token, static_cast<int>(Rank)>;

  explicit workbench(Backend& own, std::uint64_t seed = 1) : backend(own), random_(seed) {}

  Backend& backend;

  /// A tensor of these values, rounded to float.
  template <std::size_t Rank>
  tensor<Rank> of(const std::vector<double>& values, const index_type (&shape)[Rank]) {
    std::vector<scalar> host(margin, std::numeric_limits<scalar>::quiet_NaN());
    for (double value : values) host.push_back(static_cast<scalar>(static_cast<float>(value)));
    host.insert(host.end(), margin, std::numeric_limits<scalar>::quiet_NaN());
    auto& place = tensors_.emplace_back(static_cast<index_type>(host.size()));
    upload(backend, strata::view<const scalar, 1>{host.data(), {place.size()}}, place.view());
    return shaped<scalar>(place.data() + margin, shape);
  }
  template <std::size_t Rank>
  tensor<Rank> normal(const index_type (&shape)[Rank], double scale = 1) {
    std::vector<double> values(count(shape));
    for (double& value : values) value = scale * random_.normal(stream_, drawn_++);
    return of(values, shape);
  }
  template <std::size_t Rank>
  tensor<Rank> all(double value, const index_type (&shape)[Rank]) {
    return of(std::vector<double>(count(shape), value), shape);
  }
  /// For results that replace what is there.
  template <std::size_t Rank>
  tensor<Rank> unset(const index_type (&shape)[Rank]) {
    return all(std::numeric_limits<double>::quiet_NaN(), shape);
  }
  template <std::size_t Rank>
  tokens_view<Rank> tokens_of(std::vector<token> ids, const index_type (&shape)[Rank]) {
    auto& place = tokens_.emplace_back(static_cast<index_type>(ids.size()));
    upload_tokens(backend, strata::view<const token, 1>{ids.data(), {place.size()}}, place.view());
    return shaped<token>(place.data(), shape);
  }
  /// Tokens in lowest .. highest.
  template <std::size_t Rank>
  tokens_view<Rank> tokens(token lowest, token highest, const index_type (&shape)[Rank]) {
    std::vector<token> ids(count(shape));
    for (token& id : ids)
      id = lowest +
           static_cast<token>(random_.below(static_cast<std::uint64_t>(highest - lowest + 1), stream_, drawn_++));
    return tokens_of(std::move(ids), shape);
  }

  /// For packed weights.
  template <class T, std::size_t Rank>
  strata::view<T, static_cast<int>(Rank)> unset_of(const index_type (&shape)[Rank]) {
    auto& place = packed_.emplace_back(static_cast<index_type>(count(shape) * sizeof(T)));
    return shaped<T>(reinterpret_cast<T*>(place.data()), shape);
  }

  template <class T, int Rank>
  std::vector<double> read(const strata::view<T, Rank>& x) {
    using element = std::remove_const_t<T>;
    const auto values_of = [](const element* first, index_type count) {
      std::vector<double> values;
      for (index_type n = 0; n < count; ++n) {
        if constexpr (std::is_same_v<element, strata::bfloat16>)
          values.push_back(to_float(first[n]));
        else
          values.push_back(static_cast<double>(first[n]));
      }
      return values;
    };
    std::vector<element> host(static_cast<std::size_t>(x.size()));
    // No operation downloads packed weights: a backend on a device has its own function for that.
    if constexpr (std::is_same_v<element, token>) {
      download_tokens(backend, x.flat(), strata::view<token, 1>{host.data(), {x.size()}});
      return values_of(host.data(), x.size());
    } else if constexpr (std::is_same_v<element, scalar>) {
      download(backend, x.flat(), strata::view<scalar, 1>{host.data(), {x.size()}});
      return values_of(host.data(), x.size());
    } else if constexpr (requires { download_bytes(backend, x.data, host.data(), std::size_t{}); }) {
      download_bytes(backend, x.data, host.data(), host.size() * sizeof(element));
      return values_of(host.data(), x.size());
    } else {
      return values_of(x.data, x.size());
    }
  }
  template <class T, int Rank>
  void write(const strata::view<T, Rank>& x, const std::vector<double>& values) {
    const std::vector<scalar> host(values.begin(), values.end());
    upload(backend, strata::view<const scalar, 1>{host.data(), {x.size()}}, x.flat());
  }

  /// Remembers a result under a name, for the comparison with another bench.
  template <class T, int Rank>
  void result(std::string name, const strata::view<T, Rank>& x) {
    results.emplace_back(std::move(name), read(x));
  }
  std::vector<std::pair<std::string, std::vector<double>>> results;

  /// Whether nothing was written outside of the tensors.
  bool margins_intact() {
    for (auto& place : tensors_) {
      const std::vector<double> all = read(place.view());
      for (std::size_t n = 0; n < margin; ++n)
        if (!std::isnan(all[n]) || !std::isnan(all[all.size() - 1 - n])) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t margin = 16;  // elements; keeps tensors on cache lines, as in a model
  static constexpr std::uint64_t stream_ = 7;

  template <std::size_t Rank>
  static std::size_t count(const index_type (&shape)[Rank]) {
    index_type product = 1;
    for (index_type extent : shape) product *= extent;
    return static_cast<std::size_t>(product);
  }
  template <class T, std::size_t Rank>
  static strata::view<T, static_cast<int>(Rank)> shaped(T* data, const index_type (&shape)[Rank]) {
    strata::view<T, static_cast<int>(Rank)> result;
    result.data = data;
    for (std::size_t axis = 0; axis < Rank; ++axis) result.shape[axis] = shape[axis];
    return result;
  }

  strata::random_source random_;
  std::uint64_t drawn_ = 0;
  std::deque<typename Backend::template storage<scalar>> tensors_;
  std::deque<typename Backend::template storage<token>> tokens_;
  std::deque<typename Backend::template storage<std::int8_t>> packed_;
};
