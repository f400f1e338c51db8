// muon. Threads share out whole matrices; where that would leave threads idle, they compute a matrix together.
// Products are in float32, whatever the precision of the backend.
// Shapes: matrices [R,C] at their places in flat buffers [N]; m = min(R, C).
// Source: backend/backend.hpp.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

/// Where part `part` of the rows of a lower triangle begins, cut into `of` parts at multiples of `grain` that have about
/// as many elements each.
inline index_type cut_triangle(index_type count, index_type grain, int part, int of) {
  const double rows = static_cast<double>(count) * std::sqrt(static_cast<double>(part) / of);
  return part == of ? count : std::min(count, round_up(static_cast<index_type>(rows), grain));
}

/// Elements from row to row of a matrix with whole vectors. Rows a multiple of 512 bytes apart would share few sets of
/// a cache.
inline index_type row_distance(index_type columns) {
  const index_type whole = round_up(columns, vector::lanes);
  return whole % 128 == 0 ? whole + vector::lanes : whole;
}

/// Rows [first, last) of the lower triangle of the symmetric product c[m,m] = a[m,K] a^T, where a^T is `b`. `first` is
/// a multiple of a vector.
inline void symmetric_product(cpu& backend, int thread, index_type first, index_type last, index_type depth, strided a,
                              strided b, float* c, index_type c_row) {
  for (index_type i = first; i < last; i += block_rows)
    for (index_type k = 0; k < depth; k += block_depth) {
      const index_type count = std::min(block_rows, last - i);
      product_block(backend, thread, count, i + count, std::min(block_depth, depth - k), a.from(i, k), b.from(k, 0),
                    c + i * c_row, c_row, k > 0 ? update::add : update::replace, true);
    }
}
/// Replaces the lower triangle of c[m,m] in rows [first, last) by map(offset, vector), and the upper triangle by what
/// mirrors it. Rows are c_row apart and hold whole vectors, and so do columns. `first` is a multiple of a vector.
template <class Map>
STRATA_ALWAYS_INLINE void mirror(index_type first, index_type last, float* c, index_type c_row, Map map) {
  using namespace vector;
  for (index_type i = first; i < last; i += lanes)
    for (index_type j = 0; j <= i; j += lanes) {
      floats square[lanes];
      STRATA_UNROLL
      for (int row = 0; row < lanes; ++row) {
        const index_type at = (i + row) * c_row + j;
        square[row] = map(at, load(c + at));
        store(c + at, square[row]);
      }
      if (i == j) continue;
      transpose(square);
      STRATA_UNROLL
      for (int row = 0; row < lanes; ++row) store(c + (j + row) * c_row + i, square[row]);
    }
}

inline constexpr index_type cache_line = 16;  // floats

/// One step for one matrix, in phases. Each phase is cut into parts; a phase begins when all parts of the last one are
/// done. The order of a sum does not depend on the number of parts.
class muon_matrix {
 public:
  /// The floats that `memory` must hold.
  static index_type memory_size(const matrix_place& place) {
    const index_type x = place.rows * row_distance(place.columns);
    return 2 * x + 2 * square_size(place.smaller()) + round_up(2 * place.rows, cache_line);
  }
  muon_matrix(cpu& backend, const muon_settings& settings, float clip, const matrix_place& place, float* memory,
              const float* gradient, float* weight, float* first_moment, float* second_moment)
      : backend_(backend),
        settings_(settings),
        clip_(clip),
        place_(place),
        m_(place.smaller()),
        x_row_(row_distance(place.columns)),
        m_row_(row_distance(m_)),
        x_(memory),
        next_(x_ + place.rows * x_row_),
        gram_(next_ + place.rows * x_row_),
        factor_(gram_ + square_size(m_)),
        squares_(factor_ + square_size(m_)),
        row_factor_(squares_ + place.rows),
        gradient_(gradient + place.offset),
        weight_(weight + place.offset),
        mean_(first_moment + place.offset),
        mean_square_(second_moment + place.offset) {}

  /// Calls run(phase) for each phase; run calls phase(thread, part, of) for every part.
  template <class Run>
  void step(Run run) {
    if (place_.size() == 0) return;
    run([this](int, int part, int of) { take_gradient(part, of); });
    run([this](int, int part, int of) { start(part, of); });
    for (int iteration = 0; iteration < settings_.iterations; ++iteration) {
      run([this](int thread, int part, int of) { make_gram(thread, part, of); });
      run([this](int thread, int part, int of) { make_factor(thread, part, of); });
      run([this](int thread, int part, int of) { make_next(thread, part, of); });
      std::swap(x_, next_);
    }
    if (settings_.normalised) run([this](int, int part, int of) { measure_rows(part, of); });
    run([this](int, int part, int of) { change_weights(part, of); });
  }

 private:
  static index_type square_size(index_type m) { return round_up(m, vector::lanes) * row_distance(m); }
  bool tall() const { return place_.rows > place_.columns; }
  index_type first_row(int part, int of) const { return cpu::piece(place_.rows, 1, part, of).first; }
  double sum_of_squares() const {
    double sum = 0;
    for (index_type row = 0; row < place_.rows; ++row) sum += static_cast<double>(squares_[row]);
    return sum;
  }
  /// The momentum, and the squares of the rows of its Nesterov form.
  void take_gradient(int part, int of) {
    const float momentum = static_cast<float>(settings_.momentum);
    const float rest = static_cast<float>(1 - settings_.momentum), clip = clip_;
    for (index_type row = first_row(part, of); row < first_row(part + 1, of); ++row) {
      const float* const gradient = gradient_ + row * place_.columns;
      float* const mean = mean_ + row * place_.columns;
      float* const x = x_ + row * x_row_;
      vector::for_each(place_.columns, [&](index_type n, auto load, auto store) {
        const vector::floats g = rest * (load(gradient + n) * clip), own = momentum * load(mean + n) + g;
        store(mean + n, own);
        store(x + n, momentum * own + g);
      });
      squares_[row] = sum_over(place_.columns, [&](index_type n, auto load) { return load(x + n) * load(x + n); });
    }
  }
  /// X, of norm 1.
  void start(int part, int of) {
    const float factor = static_cast<float>(1 / (std::sqrt(sum_of_squares()) + newton_schulz::epsilon));
    for (index_type row = first_row(part, of); row < first_row(part + 1, of); ++row) {
      float* const x = x_ + row * x_row_;
      vector::for_each(place_.columns,
                       [&](index_type n, auto load, auto store) { store(x + n, factor * load(x + n)); });
    }
  }
  /// A[m,m] = X X^T, or X^T X if X has more rows than columns.
  void make_gram(int thread, int part, int of) {
    const strided rows{x_, x_row_, 1}, columns{x_, 1, x_row_};
    const index_type first = cut_triangle(m_, vector::lanes, part, of);
    const index_type last = cut_triangle(m_, vector::lanes, part + 1, of);
    symmetric_product(backend_, thread, first, last, place_.larger(), tall() ? columns : rows, tall() ? rows : columns,
                      gram_, m_row_);
    mirror(first, last, gram_, m_row_, [](index_type, vector::floats own) { return own; });
  }
  /// a + b A + c A A
  void make_factor(int thread, int part, int of) {
    constexpr float a = static_cast<float>(newton_schulz::a), b = static_cast<float>(newton_schulz::b),
                    c = static_cast<float>(newton_schulz::c);
    const strided gram{gram_, m_row_, 1};
    const index_type first = cut_triangle(m_, vector::lanes, part, of);
    const index_type last = cut_triangle(m_, vector::lanes, part + 1, of);
    symmetric_product(backend_, thread, first, last, m_, gram, gram, factor_, m_row_);
    mirror(first, last, factor_, m_row_,
           [&](index_type at, vector::floats own) { return c * own + b * vector::load(gram_ + at); });
    for (index_type i = first; i < last; ++i) factor_[i * m_row_ + i] += a;
  }
  /// The factor times X, or X times the factor.
  void make_next(int thread, int part, int of) {
    const strided factor{factor_, m_row_, 1}, x{x_, x_row_, 1};
    const auto [offset, rows, columns] = place_;
    if (tall()) {
      const auto [first, last] = cpu::piece(rows, tile_rows, part, of);
      product(backend_, thread, last - first, columns, columns, x.from(first, 0), factor, nullptr,
              next_ + first * x_row_, x_row_, update::replace);
    } else {
      const auto [first, last] = cpu::piece(columns, vector::lanes, part, of);
      product(backend_, thread, rows, last - first, rows, factor, x.from(0, first), nullptr, next_ + first, x_row_,
              update::replace);
    }
  }
  /// The squares of the rows of X, and what their mean squares of late make of the rows.
  void measure_rows(int part, int of) {
    const float beta2 = static_cast<float>(settings_.beta2), rest = static_cast<float>(1 - settings_.beta2);
    for (index_type row = first_row(part, of); row < first_row(part + 1, of); ++row) {
      const float* const x = x_ + row * x_row_;
      squares_[row] = sum_over(place_.columns, [&](index_type n, auto load) { return load(x + n) * load(x + n); });
      mean_square_[row] = beta2 * mean_square_[row] + rest * (squares_[row] / static_cast<float>(place_.columns));
      row_factor_[row] = 1 / (std::sqrt(mean_square_[row]) + static_cast<float>(normuon_epsilon));
    }
  }
  void change_weights(int part, int of) {
    double restored = 1;
    if (settings_.normalised) {
      double after = 0;
      for (index_type row = 0; row < place_.rows; ++row) {
        const double factor = static_cast<double>(row_factor_[row]);
        after += factor * factor * static_cast<double>(squares_[row]);
      }
      restored = after > 0 ? std::sqrt(sum_of_squares() / after) : 0;
    }
    const double rate = settings_.learning_rate * muon_scale(place_) * restored;
    const float kept = static_cast<float>(1 - settings_.learning_rate * settings_.weight_decay);
    for (index_type row = first_row(part, of); row < first_row(part + 1, of); ++row) {
      const float own = static_cast<float>(settings_.normalised ? rate * static_cast<double>(row_factor_[row]) : rate);
      const float* const x = x_ + row * x_row_;
      float* const weight = weight_ + row * place_.columns;
      vector::for_each(place_.columns, [&](index_type n, auto load, auto store) {
        store(weight + n, kept * load(weight + n) - own * load(x + n));
      });
    }
  }

  cpu& backend_;
  const muon_settings& settings_;
  float clip_;
  matrix_place place_;
  index_type m_, x_row_, m_row_;
  float *x_, *next_;              ///< [R, C], rows x_row_ apart
  float *gram_, *factor_;         ///< [m, m], rows m_row_ apart
  float *squares_, *row_factor_;  ///< [R]
  const float* gradient_;         ///< [R, C]
  float *weight_, *mean_;         ///< [R, C]
  float* mean_square_;            ///< [R], of NorMuon
};

/// Which thread computes each matrix: owners[N], where the number of threads stands for all of them together. From the
/// largest matrix on, the thread with the least work takes the next, unless that would be much more than its share.
inline void share_out(const muon_settings& settings, std::span<const matrix_place> matrices, int threads, float* owners,
                      float* loads) {
  constexpr double tolerance = 1.05,
                   too_small = 1e7;  // FLOPs of an iteration: threads would mostly wait for each other
  const auto count = static_cast<index_type>(matrices.size());
  const auto cost = [&](index_type n) { return settings.flops(matrices[static_cast<std::size_t>(n)]); };
  double whole = 0;  // FLOPs of what one thread computes
  for (index_type n = 0; n < count; ++n) whole += cost(n);
  std::fill_n(owners, count, -1.f);
  std::fill_n(loads, threads, 0.f);
  for (index_type done = 0; done < count; ++done) {
    index_type next = -1;
    for (index_type n = 0; n < count; ++n)
      if (owners[n] < 0 && (next < 0 || cost(n) > cost(next))) next = n;
    float* const least = std::min_element(loads, loads + threads);
    const double load = static_cast<double>(*least) + cost(next);
    if (load > tolerance * whole / threads && cost(next) > too_small * settings.iterations) {
      owners[next] = static_cast<float>(threads);
      whole -= cost(next);
    } else {
      owners[next] = static_cast<float>(least - loads);
      *least = static_cast<float>(load);
    }
  }
}

inline void muon(cpu& backend, const muon_settings& settings, std::span<const matrix_place> matrices,
                 input<float, 1> gradient, input<float, 1> measures, output<float, 1> weight,
                 output<float, 1> first_moment, output<float, 1> second_moment) {
  if (!all_finite(measures)) return;
  const float clip = static_cast<float>(clip_factor(settings.max_norm, static_cast<double>(measures(0))));
  const auto count = static_cast<index_type>(matrices.size());
  const int threads = backend.threads();
  index_type largest = 0;
  for (const matrix_place& place : matrices) largest = std::max(largest, muon_matrix::memory_size(place));
  const index_type lists = round_up(count + threads, cache_line);
  float* const owners = backend.shared_memory(lists + largest * threads);
  float* const memory = owners + lists;
  share_out(settings, matrices, threads, owners, owners + count);

  const auto step = [&](index_type n, int thread, auto run) {
    muon_matrix(backend, settings, clip, matrices[static_cast<std::size_t>(n)], memory + thread * largest,
                gradient.data, weight.data, first_moment.data, second_moment.data)
        .step(run);
  };
  constexpr index_type much = 1 << 30;  // the cost of a part: all threads take part
  for (index_type n = 0; n < count; ++n)
    if (owners[n] == static_cast<float>(threads))
      step(n, 0, [&](auto phase) {
        backend.parallel_numbered(threads, much, [&](int thread, index_type begin, index_type end) {
          for (index_type part = begin; part < end; ++part) phase(thread, static_cast<int>(part), threads);
        });
      });
  backend.parallel_numbered(threads, much, [&](int thread, index_type begin, index_type end) {
    for (index_type own = begin; own < end; ++own)
      for (index_type n = 0; n < count; ++n)
        if (owners[n] == static_cast<float>(own)) step(n, thread, [&](auto phase) { phase(thread, 0, 1); });
  });
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
