#include "mp4/codec.hpp"
