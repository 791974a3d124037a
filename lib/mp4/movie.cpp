#include "mp4/movie.hpp"
